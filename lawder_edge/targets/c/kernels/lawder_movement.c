/** @file lawder_movement.c Resizing, and operators that only copy. */
#include "lawder_mve.h"

LW_KERNEL void lw_resize_rows(const lw_resize_params *p, int32_t row, int32_t rows[2])
{
    const lw_between v = lw_source_of(row, p->scale_y, p->offset_y, p->in_height);
    rows[0] = v.lower;
    rows[1] = v.upper;
}

LW_KERNEL void lw_resize_bilinear_row(const lw_resize_params *p, int32_t row, const int8_t *const *rows, int8_t *y)
{
    const int32_t down = lw_source_of(row, p->scale_y, p->offset_y, p->in_height).fraction;
#if LW_MVE
    lw_mve_resize_bilinear_row(p, down, rows, y);
#else
    const int32_t channels = p->channels, up = 1024 - down;
    for (int32_t column = 0; column < p->out_width; column++) {
        const lw_between h = lw_source_of(column, p->scale_x, p->offset_x, p->in_width);
        const int32_t left = h.lower * channels, right = h.upper * channels;
        for (int32_t channel = 0; channel < channels; channel++) {
            const int32_t on_left = rows[0][left + channel] * up + rows[1][left + channel] * down;
            const int32_t on_right = rows[0][right + channel] * up + rows[1][right + channel] * down;
            const int32_t sum = on_left * (1024 - h.fraction) + on_right * h.fraction;
            *y++ = (int8_t)((sum > 0 ? sum + (1 << 19) : sum - (1 << 19)) / (1 << 20));
        }
    }
#endif
}

LW_KERNEL void lw_resize_bilinear(const lw_resize_params *p, const int8_t *x, int8_t *y)
{
    for (int32_t row = 0; row < p->out_height; row++) {
        const lw_between v = lw_source_of(row, p->scale_y, p->offset_y, p->in_height);
        const int8_t *rows[2];
        rows[0] = x + v.lower * p->in_width * p->channels;
        rows[1] = x + v.upper * p->in_width * p->channels;
        lw_resize_bilinear_row(p, row, rows, y + row * p->out_width * p->channels);
    }
}

LW_KERNEL void lw_resize_nearest(const lw_resize_params *p, const int8_t *x, int8_t *y)
{
    for (int32_t row = 0; row < p->out_height; row++) {
        const int8_t *from_row = x + row * p->in_height / p->out_height * p->in_width * p->channels;
        for (int32_t column = 0; column < p->out_width; column++) {
            const int8_t *from = from_row + column * p->in_width / p->out_width * p->channels;
            for (int32_t channel = 0; channel < p->channels; channel++) {
                *y++ = from[channel];
            }
        }
    }
}

LW_KERNEL void lw_concat(uint32_t rows, uint32_t length, uint32_t step, const int8_t *x, int8_t *y)
{
    for (uint32_t row = 0; row < rows; row++, y += step) {
#if LW_MVE
        lw_mve_copy(y, x, (int32_t)length, vdupq_n_s8(0));
        x += length;
#else
        for (uint32_t i = 0; i < length; i++) {
            y[i] = *x++;
        }
#endif
    }
}

LW_KERNEL void lw_transpose(const lw_transpose_params *p, const int8_t *x, int8_t *y)
{
    for (uint32_t i = 0; i < p->shape[0]; i++) {
        for (uint32_t j = 0; j < p->shape[1]; j++) {
            for (uint32_t k = 0; k < p->shape[2]; k++) {
                const int8_t *from = x + i * p->x_step[0] + j * p->x_step[1] + k * p->x_step[2];
                for (uint32_t l = 0; l < p->shape[3]; l++) {
                    *y++ = from[l * p->x_step[3]];
                }
            }
        }
    }
}

/** Whether a position of the padded axis lies on the input. */
static int is_inside(const lw_pad_params *p, uint32_t axis, uint32_t position)
{
    return position >= p->before[axis] && position < (uint32_t)p->before[axis] + p->in_shape[axis];
}

LW_KERNEL void lw_pad(const lw_pad_params *p, const int8_t *x, int8_t *y)
{
    uint32_t shape[4];
    for (uint32_t axis = 0; axis < 4; axis++) {
        shape[axis] = (uint32_t)p->before[axis] + p->in_shape[axis] + p->after[axis];
    }
    for (uint32_t i = 0; i < shape[0]; i++) {
        for (uint32_t j = 0; j < shape[1]; j++) {
            for (uint32_t k = 0; k < shape[2]; k++) {
                const int row_inside = is_inside(p, 0, i) && is_inside(p, 1, j) && is_inside(p, 2, k);
                for (uint32_t l = 0; l < shape[3]; l++) {
                    *y++ = row_inside && is_inside(p, 3, l) ? *x++ : p->value;
                }
            }
        }
    }
}
