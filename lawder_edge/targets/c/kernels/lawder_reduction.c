/** @file lawder_reduction.c Pools, means and maxima. */
#include "lawder_arithmetic.h"

/** The part of a window that lies inside the picture: rows top..bottom - 1, columns left..right - 1. */
typedef struct {
    int32_t top, bottom, left, right;
} window;

static window window_at(const lw_pool_params *p, int32_t row, int32_t column)
{
    const int32_t top = row * p->stride_y - p->pad_top, left = column * p->stride_x - p->pad_left;
    const int32_t bottom = top + p->size_y, right = left + p->size_x;
    window w;
    w.top = top > 0 ? top : 0;
    w.left = left > 0 ? left : 0;
    w.bottom = bottom < p->in_height ? bottom : p->in_height;
    w.right = right < p->in_width ? right : p->in_width;
    return w;
}

LW_KERNEL void lw_max_pool2d(const lw_pool_params *p, const int8_t *x, int8_t *y)
{
    for (int32_t row = 0; row < p->out_height; row++) {
        for (int32_t column = 0; column < p->out_width; column++) {
            const window w = window_at(p, row, column);
            for (int32_t channel = 0; channel < p->channels; channel++) {
                int8_t largest = INT8_MIN;
                for (int32_t i = w.top; i < w.bottom; i++) {
                    for (int32_t j = w.left; j < w.right; j++) {
                        const int8_t value = x[(i * p->in_width + j) * p->channels + channel];
                        largest = value > largest ? value : largest;
                    }
                }
                *y++ = largest;
            }
        }
    }
}

LW_KERNEL void lw_average_pool2d(const lw_pool_params *p, const int8_t *x, int8_t *y)
{
    for (int32_t row = 0; row < p->out_height; row++) {
        for (int32_t column = 0; column < p->out_width; column++) {
            const window w = window_at(p, row, column);
            const int32_t count = (w.bottom - w.top) * (w.right - w.left);
            for (int32_t channel = 0; channel < p->channels; channel++) {
                int32_t sum = 0;
                for (int32_t i = w.top; i < w.bottom; i++) {
                    for (int32_t j = w.left; j < w.right; j++) {
                        sum += x[(i * p->in_width + j) * p->channels + channel];
                    }
                }
                *y++ = (int8_t)((sum > 0 ? sum + count / 2 : sum - count / 2) / count);
            }
        }
    }
}

LW_KERNEL void lw_mean(const lw_mean_params *p, const lw_reduce_shape *shape, const int8_t *x, int8_t *y)
{
    for (uint32_t outer = 0; outer < shape->outer; outer++) {
        for (uint32_t inner = 0; inner < shape->inner; inner++) {
            const int8_t *from = x + outer * shape->count * shape->inner + inner;
            int32_t sum = 0;
            for (uint32_t i = 0; i < shape->count; i++) {
                sum += from[i * shape->inner] - p->in_zero_point;
            }
            *y++ = lw_clamp(lw_rescale(sum, p->multiplier, p->shift) + p->out_zero_point, INT8_MIN, INT8_MAX);
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
