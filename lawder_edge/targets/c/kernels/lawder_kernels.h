/**
 * @file lawder_kernels.h
 * The operators of an int8 segmentation network, one function an operator.
 *
 * Each gives, bit for bit, what TensorFlow Lite's reference kernels and TensorFlow Lite Micro give: sums in int32, then
 * a product with a 31-bit multiplier and a shift, each rounded half away from zero.
 *
 * A tensor is int8, one image, stored row by row with the channels of a pixel side by side: element (y, x, c) lies at
 * (y * width + x) * channels + c. Its real value is scale * (q - zero_point). No function allocates, keeps state, uses
 * floating point, or reads or writes outside of what its parameters describe. They trust those parameters: whoever
 * writes them (lawder-edge export) keeps to the ranges given here. Input and output must not overlap, except where a
 * function says that they may be the same.
 *
 * Every function of this file but lw_own_... is a weak symbol where the compiler has them: a function of the same name
 * elsewhere in the program, such as one that calls CMSIS-NN, takes its place.
 *
 * Where nothing else is said a multiplier is 0 or 2^30..2^31-1, out_min <= out_max, and a tensor has fewer than 2^31
 * elements. C99, also C++; int is at least 32 bits, and >> of a negative number keeps its sign: what is otherwise does not
 * compile.
 */
#ifndef LAWDER_KERNELS_H
#define LAWDER_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/** Changes when a function or a structure does; a network refuses to compile with another one. */
#define LW_KERNELS_VERSION 4

/** Bytes to which the start of an arena must be aligned. */
#define LW_ARENA_ALIGNMENT 16

/** The tallest window of a convolution or pool, in rows. */
#define LW_MAX_WINDOW_ROWS 32

/** The most operators of a stream. */
#define LW_MAX_STAGES 64

#ifdef __cplusplus
extern "C" {
#endif

/** What a network's functions return. Unless it is LW_OK or LW_ERROR_ROW they have written nothing. */
typedef enum {
    LW_OK = 0,
    LW_ERROR_NULL = 1,       /**< a pointer is null */
    LW_ERROR_ALIGNMENT = 2,  /**< the arena does not start at a multiple of LW_ARENA_ALIGNMENT */
    LW_ERROR_ARENA_SIZE = 3, /**< the arena is smaller than the network's arena_bytes() or rows_arena_bytes() */
    LW_ERROR_ROW = 4         /**< a row could not be read or written: the program's function said so */
} lw_status;

/** Puts row `row` of the picture, width * channels bytes, to rgb. Returns 0, or anything else to stop the network. */
typedef int (*lw_read_row)(void *context, uint32_t row, uint8_t *rgb);

/** Takes row `row` of the mask, a byte a pixel: what `prob` holds of the network's run. Returns 0, or anything else to
 *  stop the network. */
typedef int (*lw_write_row)(void *context, uint32_t row, const uint8_t *mask);

/** Where a network's picture comes from and its logits go to: memory, or a row at a time. Written by the network. */
typedef struct lw_frame {
    const uint8_t *picture; /**< whole; null: rows are read as they are needed */
    int8_t *logits;         /**< whole; null: rows are given away as they are made */
    int (*write_logits)(const struct lw_frame *frame, uint32_t row, int8_t *logits); /**< which it may overwrite */
    lw_read_row read_row;
    lw_write_row write_row;
    void *context; /**< of both */
} lw_frame;

/**
 * A convolution of either kind. real multiplier of channel o = multiplier[o] * 2^(shift[o] - 31).
 *
 * Accumulators stay inside int32: kernel_height * kernel_width * in_channels * 255 * 128 + |bias| < 2^31.
 */
typedef struct {
    uint16_t in_height, in_width, in_channels;    /**< of the input, each 1..65535 */
    uint16_t first_channels; /**< of a dense one: channels that lie in its first input, the rest in its second; 1..in */
    uint16_t out_height, out_width, out_channels; /**< of the output */
    uint8_t kernel_height, kernel_width;          /**< 1..LW_MAX_WINDOW_ROWS, 1..255 */
    uint8_t stride_y, stride_x;                   /**< 1..255 */
    uint8_t dilation_y, dilation_x;               /**< 1..255 */
    uint8_t pad_top, pad_left;                    /**< pixels beyond the border above and left of the first window, 0..255 */
    int8_t in_zero_point, out_zero_point;
    int8_t out_min, out_max;                      /**< the activation: -128..127, out_min <= out_max */
    const int8_t *weights;     /**< (out, height, width, in); depthwise (height, width, out); of two inputs of each row of
                                    a window (width, first_channels), then (width, the rest) */
    const int32_t *bias;       /**< (out) at input scale times weight scale */
    const int32_t *multiplier; /**< (out) 0, or 2^30..2^31-1 */
    const int8_t *shift;       /**< (out) -31..30 */
} lw_conv2d_params;

/** Dense convolution. x: (in_height, in_width, in_channels), y: (out_height, out_width, out_channels). */
void lw_conv2d(const lw_conv2d_params *p, const int8_t *x, int8_t *y);

/** As lw_conv2d of two inputs side by side: a (.., first_channels), b (.., in_channels - first_channels). */
void lw_conv2d_two(const lw_conv2d_params *p, const int8_t *a, const int8_t *b, int8_t *y);

/** As lw_conv2d over the bytes of a picture, whose int8 value is byte - 128: x as given by a camera, 0..255. */
void lw_conv2d_image(const lw_conv2d_params *p, const uint8_t *x, int8_t *y);

/**
 * Depthwise convolution: output channel o is made from input channel o / (out_channels / in_channels). y may be x where
 * window and stride are 1 and there are as many channels out as in.
 */
void lw_depthwise_conv2d(const lw_conv2d_params *p, const int8_t *x, int8_t *y);

/**
 * One row of each convolution. rows: of each of the window's rows the input row that it reads, null beyond the border;
 * where a dense one has a second input, that one's after them. Windows of two inputs have half of LW_MAX_WINDOW_ROWS.
 */
void lw_conv2d_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y);
void lw_conv2d_image_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y);
void lw_depthwise_conv2d_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y);

/** What they do where nothing takes their place: for a program whose own ones do not take every convolution. */
void lw_own_conv2d_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y);
void lw_own_depthwise_conv2d_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y);

/**
 * How the elements of two operands meet: three nested loops of `count`, whose operands advance by `a_step` and `b_step`
 * elements; 0 repeats. The output is dense.
 */
typedef struct {
    uint32_t count[3];
    uint32_t a_step[3], b_step[3];
} lw_broadcast;

/**
 * A sum or difference: each operand is shifted left by 20 and scaled down to twice the larger of both scales. That one's
 * multiplier is 2^30 at shift 0.
 */
typedef struct {
    int8_t a_zero_point, b_zero_point, out_zero_point;
    int8_t out_min, out_max;
    int8_t a_shift, b_shift; /**< -31..0 */
    int8_t out_shift;        /**< -31..2: 255 << 20 << out_shift must stay below 2^30 */
    int32_t a_multiplier, b_multiplier, out_multiplier;
} lw_add_params;

/** a + b. y may be an operand that does not repeat. */
void lw_add(const lw_add_params *p, const lw_broadcast *shape, const int8_t *a, const int8_t *b, int8_t *y);

/** a - b. y may be an operand that does not repeat. */
void lw_sub(const lw_add_params *p, const lw_broadcast *shape, const int8_t *a, const int8_t *b, int8_t *y);

/** A product. real multiplier = scale of a * scale of b / scale of y. */
typedef struct {
    int8_t a_zero_point, b_zero_point, out_zero_point;
    int8_t out_min, out_max;
    int8_t shift; /**< -31..14: 255 * 255 << shift must stay below 2^30 */
    int32_t multiplier;
} lw_mul_params;

/** a * b. y may be an operand that does not repeat. */
void lw_mul(const lw_mul_params *p, const lw_broadcast *shape, const int8_t *a, const int8_t *b, int8_t *y);

/** y[i] = table[x[i] + 128] for count elements: any function of one value. y may be x. */
void lw_lookup(const int8_t table[256], uint32_t count, const int8_t *x, int8_t *y);

/** Windows of a pool; what lies beyond the border is left out. Input and output have one scale. */
typedef struct {
    uint16_t in_height, in_width, channels;
    uint16_t out_height, out_width;
    uint8_t size_y, size_x;     /**< 1..LW_MAX_WINDOW_ROWS, 1..255 */
    uint8_t stride_y, stride_x; /**< 1..255 */
    uint8_t pad_top, pad_left;  /**< 0..255; every window holds a pixel of the input */
} lw_pool_params;

/** Maximum of each window. */
void lw_max_pool2d(const lw_pool_params *p, const int8_t *x, int8_t *y);

/** Mean of each window, rounded half away from zero. */
void lw_average_pool2d(const lw_pool_params *p, const int8_t *x, int8_t *y);

/** One row of each pool. rows: as of lw_conv2d_row. */
void lw_max_pool2d_row(const lw_pool_params *p, const int8_t *const *rows, int8_t *y);
void lw_average_pool2d_row(const lw_pool_params *p, const int8_t *const *rows, int8_t *y);

/** x as (outer, count, inner) -> y (outer, inner), over the middle axis. */
typedef struct {
    uint32_t outer, count, inner; /**< count * 255 < 2^31 */
} lw_reduce_shape;

/** The scale of a mean: multiplier and shift contain 1 / count. */
typedef struct {
    int8_t in_zero_point, out_zero_point;
    int8_t shift; /**< -31..30 */
    int32_t multiplier;
} lw_mean_params;

/** Mean, with a change of scale. */
void lw_mean(const lw_mean_params *p, const lw_reduce_shape *shape, const int8_t *x, int8_t *y);

/** Maximum, at one scale. */
void lw_reduce_max(const lw_reduce_shape *shape, const int8_t *x, int8_t *y);

/** A row's exponentials in Q5.26. */
typedef struct {
    uint32_t rows;
    uint16_t length;       /**< 1..4095 */
    uint8_t shift;         /**< 0..30: input differences are shifted left by it before the product */
    int16_t smallest;      /**< differences to the row's maximum below this count as nothing, -32767..0 */
    int32_t multiplier;
} lw_softmax_params;

/** Softmax over the last axis. x, y: (rows, length); y has scale 1/256 and zero point -128. y may be x. */
void lw_softmax(const lw_softmax_params *p, const int8_t *x, int8_t *y);

/** Matrix products. Element (i, t) of a lies at i * a_row + t * a_column, (t, j) of b at t * b_row + j * b_column. */
typedef struct {
    uint16_t batch, rows, inner, columns;
    uint32_t a_row, a_column, b_row, b_column; /**< steps in elements, either way around */
    int8_t a_zero_point, b_zero_point, out_zero_point;
    int8_t shift; /**< -31..30 */
    int32_t multiplier;
} lw_matmul_params;

/** a (batch, rows, inner) times b (batch, inner, columns) -> y (batch, rows, columns); inner * 255 * 255 < 2^31. */
void lw_batch_matmul(const lw_matmul_params *p, const int8_t *a, const int8_t *b, int8_t *y);

/** Where an output row or column comes from, in 1/1024 pixels of the input: index * scale + offset. */
typedef struct {
    uint16_t in_height, in_width, channels;
    uint16_t out_height, out_width;
    int32_t scale_y, scale_x;   /**< 0 or more, out * scale < 2^31 */
    int32_t offset_y, offset_x; /**< above -1024 */
} lw_resize_params;

/** Bilinear. x: (in_height, in_width, channels), y: (out_height, out_width, channels). */
void lw_resize_bilinear(const lw_resize_params *p, const int8_t *x, int8_t *y);

/** Row `row` of the output, from the two input rows that lw_resize_rows names. */
void lw_resize_bilinear_row(const lw_resize_params *p, int32_t row, const int8_t *const *rows, int8_t *y);

/** The input rows between which a row of the output lies: rows[0] <= rows[1]. */
void lw_resize_rows(const lw_resize_params *p, int32_t row, int32_t rows[2]);

/** Pixel i of the output is pixel i * in / out, rounded down; scales and offsets are not read. in * out < 2^31. */
void lw_resize_nearest(const lw_resize_params *p, const int8_t *x, int8_t *y);

/** One operand of a concatenation: `rows` pieces of `length` bytes, side by side in x, `step` bytes apart in y. */
void lw_concat(uint32_t rows, uint32_t length, uint32_t step, const int8_t *x, int8_t *y);

/** Up to four axes; shorter shapes have leading axes of 1. */
typedef struct {
    uint16_t shape[4];  /**< of the output */
    uint32_t x_step[4]; /**< elements of x to advance along each of the output's axes */
} lw_transpose_params;

/** Axes of x in another order. */
void lw_transpose(const lw_transpose_params *p, const int8_t *x, int8_t *y);

/** Up to four axes; shorter shapes have leading axes of 1. */
typedef struct {
    uint16_t in_shape[4];
    uint16_t before[4], after[4]; /**< elements added along each axis */
    int8_t value;                 /**< what is added: the zero point */
} lw_pad_params;

/** x in the middle of a larger y. */
void lw_pad(const lw_pad_params *p, const int8_t *x, int8_t *y);

/**
 * Operators that are computed row by row, so that what lies between them is never whole in memory: a tensor keeps the
 * last `ring` of its rows, row r at r % ring. Every row is computed once.
 */

/** Where the rows of a tensor lie. */
typedef struct {
    uint32_t offset;    /**< of row 0 in the arena */
    uint16_t row_bytes; /**< of one row, which is dense */
    uint16_t height;    /**< rows in all */
    uint16_t ring;      /**< rows kept there, 1..height */
    uint8_t place;      /**< 0: the arena; 1: the picture, 2: the logits, in the arena where the frame has them not whole */
    uint8_t maker;      /**< the stage that computes it, LW_WHOLE where it is there before */
} lw_rows;

#define LW_WHOLE 255 /**< lw_rows.maker of a tensor that is whole; lw_stage.input of an operand that is not there */

/** One row of an operator. rows: of its window or operands. row: which row of the output. */
typedef void (*lw_row_function)(const void *params, const void *shape, const int8_t *const *rows, int32_t row,
                                int8_t *y);

/** One operator of a stream. A tensor of one row stands for every row. */
typedef struct {
    lw_row_function function;
    const void *params, *shape;     /**< what the function takes; shape may be null */
    const lw_resize_params *resize; /**< of a resize; null for a window */
    uint8_t input[2];               /**< numbers of tensors, the second LW_WHOLE where there is one */
    uint8_t output;                 /**< number of a tensor */
    uint8_t window, stride, dilation, pad_top; /**< in rows of the first input; 1, 1, 1, 0 without a window */
    uint8_t windowed;                          /**< inputs that the window moves over: 1, or 2 */
    uint8_t is_eager; /**< 1: rows are computed as soon as its inputs have them, not when one is read */
} lw_stage;

/** stages: 1..LW_MAX_STAGES, each after those that it reads. */
typedef struct {
    const lw_stage *stages;
    const lw_rows *tensors;
    uint8_t count;
} lw_stream_params;

/** Compute every row of every stage. memory: the arena. Returns LW_OK, or LW_ERROR_ROW as the frame's functions say. */
lw_status lw_stream(const lw_stream_params *p, int8_t *memory, const lw_frame *frame);

/** What a stage of a stream calls; params and shape are those of the operator of the same name, for one row. */
void lw_stage_conv2d(const void *params, const void *shape, const int8_t *const *rows, int32_t row, int8_t *y);
void lw_stage_conv2d_image(const void *params, const void *shape, const int8_t *const *rows, int32_t row, int8_t *y);
void lw_stage_depthwise_conv2d(const void *params, const void *shape, const int8_t *const *rows, int32_t row,
                               int8_t *y);
void lw_stage_add(const void *params, const void *shape, const int8_t *const *rows, int32_t row, int8_t *y);
void lw_stage_sub(const void *params, const void *shape, const int8_t *const *rows, int32_t row, int8_t *y);
void lw_stage_mul(const void *params, const void *shape, const int8_t *const *rows, int32_t row, int8_t *y);
void lw_stage_max_pool2d(const void *params, const void *shape, const int8_t *const *rows, int32_t row, int8_t *y);
void lw_stage_average_pool2d(const void *params, const void *shape, const int8_t *const *rows, int32_t row, int8_t *y);
void lw_stage_resize_bilinear(const void *params, const void *shape, const int8_t *const *rows, int32_t row, int8_t *y);
/** params: the table; shape: lw_reduce_shape, whose count is the elements of a row. */
void lw_stage_lookup(const void *params, const void *shape, const int8_t *const *rows, int32_t row, int8_t *y);
/** params: null; shape: lw_reduce_shape of a row. */
void lw_stage_reduce_max(const void *params, const void *shape, const int8_t *const *rows, int32_t row, int8_t *y);
/** params: null; shape: lw_reduce_shape: `outer` pixels of `count` channels of the first input, `inner` of the second. */
void lw_stage_concat(const void *params, const void *shape, const int8_t *const *rows, int32_t row, int8_t *y);

/** int8 values of a picture's bytes: y[i] = x[i] - 128. y may be x. */
void lw_image(uint32_t count, const uint8_t *x, int8_t *y);

/** Probabilities as bytes: y[i] = table[x[i] + 128]. y may be x. */
void lw_probability(const uint8_t table[256], uint32_t count, const int8_t *x, uint8_t *y);

/** The most probable class of each pixel, the first of equals. x: (pixels, classes), 1..256 classes; y: (pixels), which
 *  may begin where x does: a pixel's class is written once its values were read. */
void lw_argmax(uint32_t pixels, uint32_t classes, const int8_t *x, uint8_t *y);

#ifdef __cplusplus
}
#endif

#endif
