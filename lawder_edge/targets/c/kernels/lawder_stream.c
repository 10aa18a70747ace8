/** @file lawder_stream.c Operators row by row: what lies between them is a few rows. */
#include "lawder_arithmetic.h"

/** Where a stage reads and writes. read: rows of the picture that are in the arena or were. */
typedef struct {
    int8_t *memory;
    const lw_frame *frame;
    uint16_t read;
} places;

static int8_t *row_of(const lw_rows *tensor, int32_t row, const places *at)
{
    if (tensor->place == 2 && at->frame->logits != NULL) {
        return at->frame->logits + row * tensor->row_bytes;
    }
    return at->memory + tensor->offset + (row % tensor->ring) * tensor->row_bytes;
}

static const int8_t *row_to_read(const lw_rows *tensor, int32_t row, const places *at)
{
    if (tensor->place == 1 && at->frame->picture != NULL) {
        return (const int8_t *)at->frame->picture + row * tensor->row_bytes;
    }
    return row_of(tensor, row, at);
}

/** The last row of an operand that an output row reads. */
static int32_t last_row(const lw_stage *stage, const lw_rows *tensor, int32_t operand, int32_t row)
{
    int32_t last = row;
    if (operand == 0 && stage->resize != NULL) {
        int32_t rows[2];
        lw_resize_rows(stage->resize, row, rows);
        last = rows[1];
    } else if (operand < stage->windowed) {
        last = row * stage->stride - stage->pad_top + (stage->window - 1) * stage->dilation;
    }
    return last < tensor->height ? last : tensor->height - 1;
}

/** The stage that has to go on before this one can, or `LW_WHOLE`. done: rows that each stage has computed. */
static uint8_t waits_for(const lw_stream_params *p, const lw_stage *stage, const uint16_t *done, int32_t row)
{
    for (int32_t operand = 0; operand < 2; operand++) {
        if (stage->input[operand] != LW_WHOLE) {
            const lw_rows *tensor = &p->tensors[stage->input[operand]];
            if (tensor->maker != LW_WHOLE && done[tensor->maker] <= last_row(stage, tensor, operand, row)) {
                return tensor->maker;
            }
        }
    }
    return LW_WHOLE;
}

/** Read the rows of the picture that a stage needs and that were not read before. */
static lw_status read_picture(const lw_stream_params *p, const lw_stage *stage, int32_t row, places *at)
{
    for (int32_t operand = 0; operand < 2; operand++) {
        const lw_rows *tensor = stage->input[operand] != LW_WHOLE ? &p->tensors[stage->input[operand]] : NULL;
        if (tensor == NULL || tensor->place != 1 || at->frame->picture != NULL) {
            continue;
        }
        for (const int32_t last = last_row(stage, tensor, operand, row); at->read <= last; at->read++) {
            uint8_t *to = (uint8_t *)row_of(tensor, at->read, at);
            if (at->frame->read_row(at->frame->context, at->read, to) != 0) {
                return LW_ERROR_ROW;
            }
        }
    }
    return LW_OK;
}

static lw_status compute_row(const lw_stream_params *p, const lw_stage *stage, int32_t row, places *at)
{
    const int8_t *rows[LW_MAX_WINDOW_ROWS];
    const lw_rows *output = &p->tensors[stage->output], *first = &p->tensors[stage->input[0]];
    if (read_picture(p, stage, row, at) != LW_OK) {
        return LW_ERROR_ROW;
    }
    if (stage->resize != NULL) {
        int32_t between[2];
        lw_resize_rows(stage->resize, row, between);
        rows[0] = row_to_read(first, between[0], at);
        rows[1] = row_to_read(first, between[1], at);
    } else if (first->height == 1 && stage->window == 1 && stage->windowed == 1 && stage->pad_top == 0) {
        rows[0] = row_to_read(first, 0, at);
    } else {
        for (int32_t tap = 0; tap < stage->window * stage->windowed; tap++) {
            const lw_rows *tensor = tap < stage->window ? first : &p->tensors[stage->input[1]];
            const int32_t from = row * stage->stride - stage->pad_top + tap % stage->window * stage->dilation;
            rows[tap] = from >= 0 && from < tensor->height ? row_to_read(tensor, from, at) : NULL;
        }
    }
    if (stage->input[1] != LW_WHOLE && stage->windowed == 1) {
        const lw_rows *second = &p->tensors[stage->input[1]];
        rows[1] = row_to_read(second, second->height == 1 ? 0 : row, at);
    }
    stage->function(stage->params, stage->shape, rows, row, row_of(output, row, at));
    if (output->place == 2 && at->frame->logits == NULL &&
        at->frame->write_logits(at->frame, (uint32_t)row, row_of(output, row, at)) != 0) {
        return LW_ERROR_ROW;
    }
    return LW_OK;
}

static int is_done(const lw_stream_params *p, const uint16_t *done, int32_t number)
{
    return done[number] >= p->tensors[p->stages[number].output].height;
}

/** Stages that wait for no reader, by their numbers. */
typedef struct {
    uint8_t number[LW_MAX_STAGES];
    int32_t count;
} eager_stages;

static void find_eager(const lw_stream_params *p, eager_stages *found)
{
    found->count = 0;
    for (int32_t i = 0; i < p->count; i++) {
        if (p->stages[i].is_eager) {
            found->number[found->count++] = (uint8_t)i;
        }
    }
}

/** Whatever can be computed of them; is_any: set to 1 where that is any row. */
static lw_status compute_eager(const lw_stream_params *p, const eager_stages *eager, uint16_t *done, places *at,
                               int *is_any)
{
    for (int32_t i = 0; i < eager->count; i++) {
        const int32_t number = eager->number[i];
        const lw_stage *stage = &p->stages[number];
        while (!is_done(p, done, number) && waits_for(p, stage, done, done[number]) == LW_WHOLE) {
            if (compute_row(p, stage, done[number], at) != LW_OK) {
                return LW_ERROR_ROW;
            }
            done[number]++;
            *is_any = 1;
        }
    }
    return LW_OK;
}

LW_KERNEL lw_status lw_stream(const lw_stream_params *p, int8_t *memory, const lw_frame *frame)
{
    uint16_t done[LW_MAX_STAGES] = {0};
    /* Each of these waits for the next one. */
    uint8_t waiting[LW_MAX_STAGES];
    eager_stages eager;
    places at;
    at.memory = memory;
    at.frame = frame;
    at.read = 0;
    find_eager(p, &eager);
    /* The last stage pulls the rows that it needs; stages that nobody pulled to their end follow. */
    for (int32_t last = p->count - 1; last >= 0; last--) {
        int32_t depth = 0;
        waiting[0] = (uint8_t)last;
        while (!is_done(p, done, last)) {
            int32_t number = waiting[depth];
            for (uint8_t before = waits_for(p, &p->stages[number], done, done[number]); before != LW_WHOLE;
                 before = waits_for(p, &p->stages[number], done, done[number])) {
                number = before;
                waiting[++depth] = before;
            }
            if (compute_row(p, &p->stages[number], done[number], &at) != LW_OK) {
                return LW_ERROR_ROW;
            }
            done[number]++;
            int is_any = 0;
            if (compute_eager(p, &eager, done, &at, &is_any) != LW_OK) {
                return LW_ERROR_ROW;
            }
            /* Those before the one that went on wait as before, unless one of them was waiting for an eager one. */
            depth = is_any || depth == 0 ? 0 : depth - 1;
        }
    }
    return LW_OK;
}

/* A row of each operator. The parameters' types are those that the stage was written with. */

LW_KERNEL void lw_stage_conv2d(const void *params, const void *shape, const int8_t *const *rows, int32_t row, int8_t *y)
{
    (void)shape;
    (void)row;
    lw_conv2d_row((const lw_conv2d_params *)params, rows, y);
}

LW_KERNEL void lw_stage_conv2d_image(const void *params, const void *shape, const int8_t *const *rows, int32_t row,
                                     int8_t *y)
{
    (void)shape;
    (void)row;
    lw_conv2d_image_row((const lw_conv2d_params *)params, rows, y);
}

LW_KERNEL void lw_stage_depthwise_conv2d(const void *params, const void *shape, const int8_t *const *rows, int32_t row,
                                         int8_t *y)
{
    (void)shape;
    (void)row;
    lw_depthwise_conv2d_row((const lw_conv2d_params *)params, rows, y);
}

LW_KERNEL void lw_stage_add(const void *params, const void *shape, const int8_t *const *rows, int32_t row, int8_t *y)
{
    (void)row;
    lw_add((const lw_add_params *)params, (const lw_broadcast *)shape, rows[0], rows[1], y);
}

LW_KERNEL void lw_stage_sub(const void *params, const void *shape, const int8_t *const *rows, int32_t row, int8_t *y)
{
    (void)row;
    lw_sub((const lw_add_params *)params, (const lw_broadcast *)shape, rows[0], rows[1], y);
}

LW_KERNEL void lw_stage_mul(const void *params, const void *shape, const int8_t *const *rows, int32_t row, int8_t *y)
{
    (void)row;
    lw_mul((const lw_mul_params *)params, (const lw_broadcast *)shape, rows[0], rows[1], y);
}

LW_KERNEL void lw_stage_max_pool2d(const void *params, const void *shape, const int8_t *const *rows, int32_t row,
                                   int8_t *y)
{
    (void)shape;
    (void)row;
    lw_max_pool2d_row((const lw_pool_params *)params, rows, y);
}

LW_KERNEL void lw_stage_average_pool2d(const void *params, const void *shape, const int8_t *const *rows, int32_t row,
                                       int8_t *y)
{
    (void)shape;
    (void)row;
    lw_average_pool2d_row((const lw_pool_params *)params, rows, y);
}

LW_KERNEL void lw_stage_resize_bilinear(const void *params, const void *shape, const int8_t *const *rows, int32_t row,
                                        int8_t *y)
{
    (void)shape;
    lw_resize_bilinear_row((const lw_resize_params *)params, row, rows, y);
}

LW_KERNEL void lw_stage_lookup(const void *params, const void *shape, const int8_t *const *rows, int32_t row, int8_t *y)
{
    (void)row;
    lw_lookup((const int8_t *)params, ((const lw_reduce_shape *)shape)->count, rows[0], y);
}

LW_KERNEL void lw_stage_reduce_max(const void *params, const void *shape, const int8_t *const *rows, int32_t row,
                                   int8_t *y)
{
    (void)params;
    (void)row;
    lw_reduce_max((const lw_reduce_shape *)shape, rows[0], y);
}

LW_KERNEL void lw_stage_concat(const void *params, const void *shape, const int8_t *const *rows, int32_t row, int8_t *y)
{
    (void)params;
    (void)row;
    const lw_reduce_shape *pixels = (const lw_reduce_shape *)shape;
    const uint32_t both = pixels->count + pixels->inner;
    lw_concat(pixels->outer, pixels->count, both, rows[0], y);
    lw_concat(pixels->outer, pixels->inner, both, rows[1], y + pixels->count);
}
