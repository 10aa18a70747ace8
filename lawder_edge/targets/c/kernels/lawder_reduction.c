/** @file lawder_reduction.c Pools, means and maxima. */
#include "lawder_mve.h"

/** The columns of a window that lie inside the picture: left..right - 1. */
typedef struct {
    int32_t left, right;
} column_range;

static column_range columns_inside(const lw_pool_params *p, int32_t column)
{
    const int32_t left = column * p->stride_x - p->pad_left, right = left + p->size_x;
    column_range range;
    range.left = left > 0 ? left : 0;
    range.right = right < p->in_width ? right : p->in_width;
    return range;
}

/** The input rows of an output row's window. */
static void find_rows(const lw_pool_params *p, const int8_t *x, int32_t out_row, const int8_t **rows)
{
    for (int32_t i = 0; i < p->size_y; i++) {
        const int32_t row = out_row * p->stride_y - p->pad_top + i;
        rows[i] = row >= 0 && row < p->in_height ? x + row * p->in_width * p->channels : NULL;
    }
}

LW_KERNEL void lw_max_pool2d_row(const lw_pool_params *p, const int8_t *const *rows, int8_t *y)
{
#if LW_MVE
    lw_mve_max_pool2d_row(p, rows, y);
#else
    for (int32_t column = 0; column < p->out_width; column++) {
        const column_range inside = columns_inside(p, column);
        for (int32_t channel = 0; channel < p->channels; channel++) {
            int8_t largest = INT8_MIN;
            for (int32_t i = 0; i < p->size_y; i++) {
                for (int32_t j = inside.left; rows[i] != NULL && j < inside.right; j++) {
                    const int8_t value = rows[i][j * p->channels + channel];
                    largest = value > largest ? value : largest;
                }
            }
            *y++ = largest;
        }
    }
#endif
}

LW_KERNEL void lw_average_pool2d_row(const lw_pool_params *p, const int8_t *const *rows, int8_t *y)
{
    for (int32_t column = 0; column < p->out_width; column++) {
        const column_range inside = columns_inside(p, column);
        for (int32_t channel = 0; channel < p->channels; channel++) {
            int32_t sum = 0, count = 0;
            for (int32_t i = 0; i < p->size_y; i++) {
                for (int32_t j = inside.left; rows[i] != NULL && j < inside.right; j++) {
                    sum += rows[i][j * p->channels + channel];
                    count++;
                }
            }
            *y++ = (int8_t)((sum > 0 ? sum + count / 2 : sum - count / 2) / count);
        }
    }
}

LW_KERNEL void lw_max_pool2d(const lw_pool_params *p, const int8_t *x, int8_t *y)
{
    const int8_t *rows[LW_MAX_WINDOW_ROWS];
    for (int32_t row = 0; row < p->out_height; row++) {
        find_rows(p, x, row, rows);
        lw_max_pool2d_row(p, rows, y + row * p->out_width * p->channels);
    }
}

LW_KERNEL void lw_average_pool2d(const lw_pool_params *p, const int8_t *x, int8_t *y)
{
    const int8_t *rows[LW_MAX_WINDOW_ROWS];
    for (int32_t row = 0; row < p->out_height; row++) {
        find_rows(p, x, row, rows);
        lw_average_pool2d_row(p, rows, y + row * p->out_width * p->channels);
    }
}

LW_KERNEL void lw_mean(const lw_mean_params *p, const lw_reduce_shape *shape, const int8_t *x, int8_t *y)
{
    const lw_limits out = lw_limits_of(p->out_zero_point, INT8_MIN, INT8_MAX);
    for (uint32_t outer = 0; outer < shape->outer; outer++) {
        for (uint32_t inner = 0; inner < shape->inner; inner++) {
            const int8_t *from = x + outer * shape->count * shape->inner + inner;
            int32_t sum = 0;
            for (uint32_t i = 0; i < shape->count; i++) {
                sum += from[i * shape->inner] - p->in_zero_point;
            }
            *y++ = lw_limited(lw_rescale(sum, p->multiplier, p->shift), out);
        }
    }
}

LW_KERNEL void lw_reduce_max(const lw_reduce_shape *shape, const int8_t *x, int8_t *y)
{
    for (uint32_t outer = 0; outer < shape->outer; outer++) {
        for (uint32_t inner = 0; inner < shape->inner; inner++) {
            const int8_t *from = x + outer * shape->count * shape->inner + inner;
            int8_t largest = from[0];
            for (uint32_t i = 1; i < shape->count; i++) {
                largest = from[i * shape->inner] > largest ? from[i * shape->inner] : largest;
            }
            *y++ = largest;
        }
    }
}
