/** @file lawder_mve_depthwise.c Depthwise convolutions with Arm's vector extension MVE; empty on other cores. */
#include "lawder_mve.h"

#if LW_MVE

/** Four channels of a depthwise row. used: those that there are. */
typedef struct {
    int32_t channel;
    mve_pred16_t used;
    int32x4_t bias;
    lw_mve_scaler s;
} lanes;

/** Four values. is_full: a constant, whether all are used. */
static inline __attribute__((always_inline)) int32x4_t read4(const int8_t *x, int is_full, mve_pred16_t used)
{
    return is_full ? vldrbq_s32(x) : vldrbq_z_s32(x, used);
}

/** Of the columns from `column` to `end` - 1, whose windows may reach beyond the row. */
static inline __attribute__((always_inline)) void depthwise_edge(const lw_conv2d_params *p, const int8_t *const *rows,
                                                                 const lanes *l, int is_full, int32_t column,
                                                                 int32_t end, int8_t *y)
{
    const int32_t channels = p->out_channels, width = p->kernel_width, dilation = p->dilation_x;
    const int32_t zero_point = p->in_zero_point, step = dilation * channels;
    const mve_pred16_t used = l->used;
    for (; column < end; column++) {
        const int32_t start = column * p->stride_x - p->pad_left;
        /* The taps that lie inside the row: first..last - 1. */
        const int32_t first = start < 0 ? (-start + dilation - 1) / dilation : 0;
        const int32_t last = start + (width - 1) * dilation < p->in_width
                                 ? width : (p->in_width - start + dilation - 1) / dilation;
        const int8_t *weights = p->weights + first * channels + l->channel;
        const int32_t at = (start + first * dilation) * channels + l->channel;
        int32x4_t sums = l->bias;
        for (int32_t ky = 0; ky < p->kernel_height; ky++, weights += width * channels) {
            const int8_t *from = rows[ky] + at, *w = weights;
            for (int32_t taps = rows[ky] == NULL ? 0 : last - first; taps > 0; taps--, from += step, w += channels) {
                const int32x4_t x = vsubq_n_s32(read4(from, is_full, used), zero_point);
                sums = vaddq_s32(sums, vmulq_s32(x, read4(w, is_full, used)));
            }
        }
        lw_mve_write4(y + column * channels + l->channel, lw_mve_rescaled(sums, l->s), p->out_zero_point, p->out_min,
                      p->out_max, used);
    }
}

/** Four columns at a time of four channels that there are, from `column` on, whose windows lie inside the row.
    Returns: the first column that is left. */
static inline int32_t depthwise_inside(const lw_conv2d_params *p, const int8_t *const *rows, const lanes *l,
                                       int32_t column, int32_t end, int8_t *y)
{
    const int32_t channels = p->out_channels, width = p->kernel_width;
    const int32_t next = p->stride_x * channels, step = p->dilation_x * channels;
    const int32_t zero_point = p->out_zero_point, low = p->out_min, high = p->out_max;
    const lw_mve_scaler s = l->s;
    int32x4_t of_weights = vdupq_n_s32(0);
    for (int32_t ky = 0; ky < p->kernel_height; ky++) {
        const int8_t *w = p->weights + ky * width * channels + l->channel;
        for (int32_t taps = rows[ky] == NULL ? 0 : width; taps > 0; taps--, w += channels) {
            of_weights = vaddq_s32(of_weights, vldrbq_s32(w));
        }
    }
    const int32x4_t bias = vsubq_s32(l->bias, vmulq_n_s32(of_weights, p->in_zero_point));
    for (; column + 4 <= end; column += 4) {
        const int32_t at = (column * p->stride_x - p->pad_left) * channels + l->channel;
        const int8_t *w = p->weights + l->channel;
        int8_t *to = y + column * channels + l->channel;
        int32x4_t a = bias, b = bias, c = bias, d = bias;
        for (int32_t ky = 0; ky < p->kernel_height; ky++) {
            if (rows[ky] == NULL) {
                w += width * channels;
                continue;
            }
            const int8_t *from = rows[ky] + at;
            for (int32_t taps = width; taps > 0; taps--, from += step, w += channels) {
                const int32x4_t v = vldrbq_s32(w);
                a = vaddq_s32(a, vmulq_s32(vldrbq_s32(from), v));
                b = vaddq_s32(b, vmulq_s32(vldrbq_s32(from + next), v));
                c = vaddq_s32(c, vmulq_s32(vldrbq_s32(from + 2 * next), v));
                d = vaddq_s32(d, vmulq_s32(vldrbq_s32(from + 3 * next), v));
            }
        }
        vstrbq_s32(to, lw_mve_clamped(lw_mve_rescaled(a, s), zero_point, low, high));
        vstrbq_s32(to + channels, lw_mve_clamped(lw_mve_rescaled(b, s), zero_point, low, high));
        vstrbq_s32(to + 2 * channels, lw_mve_clamped(lw_mve_rescaled(c, s), zero_point, low, high));
        vstrbq_s32(to + 3 * channels, lw_mve_clamped(lw_mve_rescaled(d, s), zero_point, low, high));
    }
    return column;
}

int lw_mve_depthwise_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y)
{
    const int32_t channels = p->out_channels, all = p->out_width;
    /* The first column whose window begins in the row, and after it the first whose window ends beyond. */
    const int32_t begins = (p->pad_left + p->stride_x - 1) / p->stride_x;
    const int32_t room = p->in_width - (p->kernel_width - 1) * p->dilation_x + p->pad_left + p->stride_x - 1;
    const int32_t inside = begins < all ? begins : all, ends = room > 0 ? room / p->stride_x : 0;
    const int32_t beyond = ends < all ? ends : all;
    if (p->in_channels != channels) {
        return 0;
    }
    for (int32_t channel = 0; channel < channels; channel += 4) {
        const mve_pred16_t used = vctp32q((uint32_t)(channels - channel));
        const lanes l = {channel, used, vldrwq_z_s32(p->bias + channel, used), lw_mve_scaler_at(p, channel, used)};
        if (channel + 4 <= channels) {
            depthwise_edge(p, rows, &l, 1, 0, inside, y);
            depthwise_edge(p, rows, &l, 1, depthwise_inside(p, rows, &l, inside, beyond, y), all, y);
        } else {
            depthwise_edge(p, rows, &l, 0, 0, all, y);
        }
    }
    return 1;
}

#endif
