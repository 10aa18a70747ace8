/** @file lawder_mve_movement.c Resizing and maxima with Arm's vector extension MVE; empty on other cores. */
#include "lawder_mve.h"

#if LW_MVE

/** Of 2^20, rounded half away from zero, which is half up of what is one less where it is negative. */
static inline int32x4_t of_a_million(int32x4_t sum)
{
    return vrshrq_n_s32(vaddq_s32(sum, vshrq_n_s32(sum, 31)), 20);
}

/** A pixel between four. a, b: left and right above; c, d: below. */
typedef struct {
    const int8_t *a, *b, *c, *d;
    int32_t down, right;
} corners;

/** Four of its channels from `i` on. is_full: a constant, whether all are of `used`. */
static inline __attribute__((always_inline)) void between4(corners k, int32_t i, int is_full, mve_pred16_t used,
                                                           int8_t *y)
{
    const int32_t up = 1024 - k.down, left = 1024 - k.right;
    const int32x4_t a = is_full ? vldrbq_s32(k.a + i) : vldrbq_z_s32(k.a + i, used);
    const int32x4_t b = is_full ? vldrbq_s32(k.b + i) : vldrbq_z_s32(k.b + i, used);
    const int32x4_t c = is_full ? vldrbq_s32(k.c + i) : vldrbq_z_s32(k.c + i, used);
    const int32x4_t d = is_full ? vldrbq_s32(k.d + i) : vldrbq_z_s32(k.d + i, used);
    const int32x4_t on_left = vmlaq_n_s32(vmulq_n_s32(a, up), c, k.down);
    const int32x4_t on_right = vmlaq_n_s32(vmulq_n_s32(b, up), d, k.down);
    const int32x4_t found = of_a_million(vmlaq_n_s32(vmulq_n_s32(on_left, left), on_right, k.right));
    if (is_full) {
        vstrbq_s32(y + i, found);
    } else {
        vstrbq_p_s32(y + i, found, used);
    }
}

/** A row of one channel, four columns at a time. */
static void resize_one_channel(const lw_resize_params *p, int32_t down, const int8_t *const *rows, int8_t *y)
{
    const int32_t width = p->out_width, scale = p->scale_x, offset = p->offset_x, last = p->in_width - 1;
    const int32_t up = 1024 - down;
    for (int32_t column = 0; column < width; column += 4) {
        const mve_pred16_t used = vctp32q((uint32_t)(width - column));
        const int32x4_t columns = vreinterpretq_s32_u32(vidupq_n_u32((uint32_t)column, 1));
        const int32x4_t source = vaddq_n_s32(vmulq_n_s32(columns, scale), offset);
        const int32x4_t lower = vshrq_n_s32(vmaxq_s32(source, vdupq_n_s32(0)), 10);
        const int32x4_t upper = vminq_s32(vshrq_n_s32(vaddq_n_s32(source, 1023), 10), vdupq_n_s32(last));
        const int32x4_t right = vsubq_s32(source, vshlq_n_s32(lower, 10));
        const uint32x4_t at_left = vreinterpretq_u32_s32(lower), at_right = vreinterpretq_u32_s32(upper);
        const int32x4_t on_left = vmlaq_n_s32(vmulq_n_s32(vldrbq_gather_offset_z_s32(rows[0], at_left, used), up),
                                              vldrbq_gather_offset_z_s32(rows[1], at_left, used), down);
        const int32x4_t on_right = vmlaq_n_s32(vmulq_n_s32(vldrbq_gather_offset_z_s32(rows[0], at_right, used), up),
                                               vldrbq_gather_offset_z_s32(rows[1], at_right, used), down);
        const int32x4_t left = vsubq_s32(vdupq_n_s32(1024), right);
        const int32x4_t sum = vaddq_s32(vmulq_s32(on_left, left), vmulq_s32(on_right, right));
        vstrbq_p_s32(y + column, of_a_million(sum), used);
    }
}

void lw_mve_resize_bilinear_row(const lw_resize_params *p, int32_t down, const int8_t *const *rows, int8_t *y)
{
    const int32_t channels = p->channels, width = p->out_width;
    const int8_t *const above = rows[0], *const below = rows[1];
    if (channels == 1) {
        resize_one_channel(p, down, rows, y);
        return;
    }
    for (int32_t column = 0; column < width; column++, y += channels) {
        const lw_between h = lw_source_of(column, p->scale_x, p->offset_x, p->in_width);
        const int32_t left = h.lower * channels, right = h.upper * channels;
        const corners k = {above + left, above + right, below + left, below + right, down, h.fraction};
        int32_t i = 0;
        for (; i + 4 <= channels; i += 4) {
            between4(k, i, 1, 0, y);
        }
        if (i < channels) {
            between4(k, i, 0, vctp32q((uint32_t)(channels - i)), y);
        }
    }
}

void lw_mve_max_pool2d_row(const lw_pool_params *p, const int8_t *const *rows, int8_t *y)
{
    const int32_t channels = p->channels, width = p->out_width, in_width = p->in_width, height = p->size_y;
    for (int32_t column = 0; column < width; column++, y += channels) {
        const int32_t start = column * p->stride_x - p->pad_left, end = start + p->size_x;
        const int32_t first = start > 0 ? start : 0, taps = (end < in_width ? end : in_width) - first;
        for (int32_t channel = 0; channel < channels; channel += 16) {
            const mve_pred16_t used = vctp8q((uint32_t)(channels - channel));
            int8x16_t largest = vdupq_n_s8(INT8_MIN);
            for (int32_t i = 0; i < height; i++) {
                if (rows[i] == NULL) {
                    continue;
                }
                const int8_t *from = rows[i] + first * channels + channel;
                for (int32_t j = taps; j > 0; j--, from += channels) {
                    largest = vmaxq_s8(largest, vldrbq_z_s8(from, used));
                }
            }
            vstrbq_p_s8(y + channel, largest, used);
        }
    }
}

#endif
