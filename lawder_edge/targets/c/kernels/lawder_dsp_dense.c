/** @file lawder_dsp_dense.c Dense convolutions of any window with Arm's DSP extension; empty on other cores. */
#include "lawder_dsp.h"

#if LW_DSP

/** Words of gathered windows on the stack, two values each: two windows of 180 values, or one of 360. */
#define MAX_WORDS 180

/** Four neighbouring bytes, to wherever they go. */
static inline void store4(int8_t *y, uint32_t word)
{
    typedef struct {
        uint32_t word;
    } __attribute__((packed, may_alias)) unaligned;
    ((unaligned *)(void *)y)->word = word;
}

/** Bytes to other ones; flip: what is changed in each of four. Compilers must not call a memcpy that goes byte by byte. */
static inline int8_t *copy(int8_t *to, const int8_t *from, int32_t count, uint32_t flip)
{
    for (; count >= 4; count -= 4, from += 4, to += 4) {
        uint32_t word = lw_load4(from) ^ flip;
        __asm__("" : "+r"(word));
        store4(to, word);
    }
    for (; count > 0; count--) {
        int32_t byte = *from++ ^ (int8_t)flip;
        __asm__("" : "+r"(byte));
        *to++ = (int8_t)byte;
    }
    return to;
}

/** Bytes beyond the border, which count as the zero point. */
static int8_t *fill(int8_t *to, int32_t count, int32_t zero_point)
{
    for (; count > 0; count--) {
        int32_t byte = zero_point;
        __asm__("" : "+r"(byte));
        *to++ = (int8_t)byte;
    }
    return to;
}

/** A row of a window, of an input of so many channels. row: null beyond the border. */
static int8_t *gather_row(const lw_conv2d_params *p, const int8_t *row, int32_t channels, int32_t start, uint32_t flip,
                          int8_t *to)
{
    const int32_t taps = p->kernel_width, dilation = p->dilation_x;
    if (row == NULL) {
        return fill(to, taps * channels, p->in_zero_point);
    }
    if (dilation == 1 && start >= 0 && start + taps <= p->in_width) {
        return copy(to, row + start * channels, taps * channels, flip);
    }
    for (int32_t kx = 0; kx < taps; kx++) {
        const int32_t at = start + kx * dilation;
        to = at < 0 || at >= p->in_width ? fill(to, channels, p->in_zero_point)
                                         : copy(to, row + at * channels, channels, flip);
    }
    return to;
}

/** The bytes of a column's window in the order of the weights. */
static void gather(const lw_conv2d_params *p, const int8_t *const *rows, int32_t column, uint32_t flip, int8_t *to)
{
    const int32_t start = column * p->stride_x - p->pad_left, first = p->first_channels;
    for (int32_t ky = 0; ky < p->kernel_height; ky++) {
        to = gather_row(p, rows[ky], first, start, flip, to);
        if (first < p->in_channels) {
            to = gather_row(p, rows[p->kernel_height + ky], p->in_channels - first, start, flip, to);
        }
    }
}

/**
 * A column's window as int16 less the zero point: of four values the even ones, then the odd ones, as weights are read.
 * Where count is no multiple of four the last four words hold what is left, behind zeros: the weights to them are the
 * last four, so that none is read that is not there.
 */
static void unpack(const lw_conv2d_params *p, const int8_t *const *rows, int32_t column, uint32_t flip, int32_t count,
                   int16x2_t *to)
{
    const int32_t words = (count + 3) / 4 * 2, left = count % 4;
    const int16x2_t zero_points = lw_twice(p->in_zero_point);
    /* In the same memory, at its end: a word is written when the bytes there have been read. */
    const int8_t *from = (const int8_t *)(to + words) - count;
    gather(p, rows, column, flip, (int8_t *)(to + words) - count);
    const uint32_t last = lw_load4((const int8_t *)(to + words) - 4);
    for (int32_t i = 0; i + 4 <= count; i += 4, from += 4, to += 2) {
        const uint32_t four = lw_load4(from);
        to[0] = __ssub16(lw_even(four), zero_points);
        to[1] = __ssub16(lw_odd(four), zero_points);
        /* Bytes are read through int8_t, which may alias. */
        __asm__("" : : : "memory");
    }
    if (left != 0) {
        const uint32_t high = 0xffff0000u;
        to[0] = (int16x2_t)((uint32_t)__ssub16(lw_even(last), zero_points) & (left == 1 ? 0 : high));
        to[1] = (int16x2_t)((uint32_t)__ssub16(lw_odd(last), zero_points) & (left == 3 ? 0xffffffffu : high));
    }
}

/** Of two channels, at two pixels a and b. */
typedef struct {
    int32_t a0, a1, b0, b1;
} tile;

static inline __attribute__((always_inline)) tile add4(tile t, const int8_t *w0, const int8_t *w1, const int16x2_t *a,
                                                       const int16x2_t *b)
{
    const uint32_t u = lw_load4(w0), v = lw_load4(w1);
    t.a0 = __smlad(lw_even(u), a[0], t.a0);
    t.a1 = __smlad(lw_even(v), a[0], t.a1);
    t.b0 = __smlad(lw_even(u), b[0], t.b0);
    t.b1 = __smlad(lw_even(v), b[0], t.b1);
    t.a0 = __smlad(lw_odd(u), a[1], t.a0);
    t.a1 = __smlad(lw_odd(v), a[1], t.a1);
    t.b0 = __smlad(lw_odd(u), b[1], t.b0);
    t.b1 = __smlad(lw_odd(v), b[1], t.b1);
    return t;
}

/** Every channel of two pixels; one of them where both are the same. */
static void convolve(const lw_conv2d_params *p, int32_t count, const int16x2_t *a, const int16x2_t *b, int8_t *y_a,
                     int8_t *y_b)
{
    const lw_range out = lw_range_of(p);
    const int32_t channels = p->out_channels;
    for (int32_t channel = 0; channel < channels; channel += 2) {
        const int32_t other = channel + 1 < channels ? channel + 1 : channel;
        const int8_t *w0 = p->weights + channel * count, *w1 = p->weights + other * count;
        const lw_scaler s0 = lw_scaler_of(p, channel), s1 = lw_scaler_of(p, other);
        const int16x2_t *from_a = a, *from_b = b;
        tile t = {p->bias[channel], p->bias[other], p->bias[channel], p->bias[other]};
        int32_t left = count;
        for (; left >= 4; left -= 4, w0 += 4, w1 += 4, from_a += 2, from_b += 2) {
            t = add4(t, w0, w1, from_a, from_b);
        }
        if (left != 0) {
            t = add4(t, w0 + left - 4, w1 + left - 4, from_a, from_b);
        }
        y_a[channel] = lw_scaled(t.a0, &s0, out);
        y_a[other] = lw_scaled(t.a1, &s1, out);
        y_b[channel] = lw_scaled(t.b0, &s0, out);
        y_b[other] = lw_scaled(t.b1, &s1, out);
    }
}

int lw_dsp_dense_row(const lw_conv2d_params *p, const int8_t *const *rows, int is_image, int8_t *y)
{
    const int32_t count = p->kernel_height * p->kernel_width * p->in_channels, words = (count + 3) / 4 * 2;
    const int32_t pixels = 2 * words <= MAX_WORDS ? 2 : 1, step = p->out_channels;
    const uint32_t flip = is_image ? 0x80808080u : 0;
    int16x2_t window[MAX_WORDS];
    if (count < 4 || words > MAX_WORDS || !lw_can_scale(p, count)) {
        return 0;
    }
    for (int32_t column = 0; column < p->out_width; column += pixels, y += pixels * step) {
        const int32_t there = pixels == 2 && column + 1 < p->out_width;
        unpack(p, rows, column, flip, count, window);
        if (there) {
            unpack(p, rows, column + 1, flip, count, window + words);
        }
        convolve(p, count, window, there ? window + words : window, y, there ? y + step : y);
    }
    return 1;
}

#endif
