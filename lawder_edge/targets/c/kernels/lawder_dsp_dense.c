/** @file lawder_dsp_dense.c Dense convolutions of any window with Arm's DSP extension; empty on other cores. */
#include "lawder_dsp.h"

#if LW_DSP

/** Words of gathered windows on the stack, two values each: two windows of 180 values, or one of 360. */
#define MAX_WORDS 180
/** From a pixel's window to the next one's: constant, so that it is part of an instruction. */
#define NEXT (MAX_WORDS / 2)

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

/** Fours of neighbouring bytes as int16 less the zero point, the even ones, then the odd ones. from: null for zeros. */
static int16x2_t *unpack_fours(const int8_t *from, int32_t count, uint32_t flip, int16x2_t zero_points, int16x2_t *to)
{
    int16x2_t *const end = to + count / 2;
    if (from == NULL) {
        while (to != end) {
            *to++ = 0;
        }
        return to;
    }
    for (; to != end; to += 2, from += 4) {
        const uint32_t four = lw_load4(from) ^ flip;
        to[0] = __ssub16(lw_even(four), zero_points);
        to[1] = __ssub16(lw_odd(four), zero_points);
    }
    return to;
}

/** As `unpack`, of a window inside the columns whose rows are fours. */
static void unpack_inside(const lw_conv2d_params *p, const int8_t *const *rows, int32_t start, uint32_t flip, int16x2_t *to)
{
    const int16x2_t zero_points = lw_twice(p->in_zero_point);
    const int32_t taps = p->kernel_width, first = p->first_channels, second = p->in_channels - first;
    for (int32_t ky = 0; ky < p->kernel_height; ky++) {
        const int8_t *row = rows[ky];
        to = unpack_fours(row == NULL ? NULL : row + start * first, taps * first, flip, zero_points, to);
        if (second > 0) {
            row = rows[p->kernel_height + ky];
            to = unpack_fours(row == NULL ? NULL : row + start * second, taps * second, flip, zero_points, to);
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
    const int32_t words = (count + 3) / 4 * 2, left = count % 4, taps = p->kernel_width;
    const int32_t start = column * p->stride_x - p->pad_left;
    if (p->dilation_x == 1 && start >= 0 && start + taps <= p->in_width && taps * p->first_channels % 4 == 0 &&
        taps * p->in_channels % 4 == 0) {
        unpack_inside(p, rows, start, flip, to);
        return;
    }
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

/** Keeps what follows from being read before this is done with: there are no registers for both. */
static inline __attribute__((always_inline)) int32_t in_order(int32_t sum)
{
    __asm__("" : "+r"(sum) : : "memory");
    return sum;
}

/** Four products more of one channel. */
static inline __attribute__((always_inline)) int32_t add4(int32_t sum, const int8_t *w, int16x2_t even, int16x2_t odd)
{
    const uint32_t four = lw_load4(w);
    return in_order(__smlad(lw_odd(four), odd, __smlad(lw_even(four), even, sum)));
}

/** Sums of two channels of two pixels or of four of one, channels first. */
typedef struct {
    int32_t y0, y1, y2, y3;
} tile;

/** Four values more of a window for two channels of two pixels. */
static inline __attribute__((always_inline)) tile add4_2x2(tile t, const int8_t *w, int32_t count, const int16x2_t *a)
{
    const int16x2_t a0 = a[0], a1 = a[1], b0 = a[NEXT], b1 = a[NEXT + 1];
    uint32_t four = lw_load4(w);
    int16x2_t two = lw_even(four);
    t.y0 = __smlad(two, a0, t.y0);
    t.y2 = __smlad(two, b0, t.y2);
    two = lw_odd(four);
    t.y0 = __smlad(two, a1, t.y0);
    t.y2 = in_order(__smlad(two, b1, t.y2));
    four = lw_load4(w + count);
    two = lw_even(four);
    t.y1 = __smlad(two, a0, t.y1);
    t.y3 = __smlad(two, b0, t.y3);
    two = lw_odd(four);
    t.y1 = __smlad(two, a1, t.y1);
    t.y3 = in_order(__smlad(two, b1, t.y3));
    return t;
}

/** Four values more of a window for four channels of one pixel. */
static inline __attribute__((always_inline)) tile add4_4x1(tile t, const int8_t *w, int32_t count, const int16x2_t *a)
{
    const int16x2_t even = a[0], odd = a[1];
    t.y0 = add4(t.y0, w, even, odd);
    t.y1 = add4(t.y1, w + count, even, odd);
    t.y2 = add4(t.y2, w + 2 * count, even, odd);
    t.y3 = add4(t.y3, w + 3 * count, even, odd);
    return t;
}

/*
 * Whole windows, `count` values and the weights of a channel each, from their bias on. Functions of their own, as what a
 * loop works on is all that the core has registers for; what is left of a multiple of four comes first, so that no loop
 * keeps where it began. w: (channels, count) int8; a: as `unpack` leaves it, of 2x2 the next pixel's NEXT words behind;
 * sums: four, of a pixel's channels after another.
 */

static __attribute__((noinline)) void window_2x2(const int32_t *bias, const int8_t *w, int32_t count, const int16x2_t *a,
                                                 int32_t *sums)
{
    tile t = {bias[0], bias[1], bias[0], bias[1]};
    const int8_t *const end = w + count / 4 * 4;
    if (count % 4 != 0) {
        t = add4_2x2(t, w + count - 4, count, a + count / 4 * 2);
    }
    for (; w != end; w += 4, a += 2) {
        t = add4_2x2(t, w, count, a);
    }
    sums[0] = t.y0;
    sums[1] = t.y1;
    sums[2] = t.y2;
    sums[3] = t.y3;
}

static __attribute__((noinline)) void window_4x1(const int32_t *bias, const int8_t *w, int32_t count, const int16x2_t *a,
                                                 int32_t *sums)
{
    tile t = {bias[0], bias[1], bias[2], bias[3]};
    const int8_t *const end = w + count / 4 * 4;
    if (count % 4 != 0) {
        t = add4_4x1(t, w + count - 4, count, a + count / 4 * 2);
    }
    for (; w != end; w += 4, a += 2) {
        t = add4_4x1(t, w, count, a);
    }
    sums[0] = t.y0;
    sums[1] = t.y1;
    sums[2] = t.y2;
    sums[3] = t.y3;
}

static __attribute__((noinline)) int32_t window_1x1(int32_t sum, const int8_t *w, int32_t count, const int16x2_t *a)
{
    const int8_t *const end = w + count / 4 * 4;
    if (count % 4 != 0) {
        sum = add4(sum, w + count - 4, a[count / 4 * 2], a[count / 4 * 2 + 1]);
    }
    for (; w != end; w += 4, a += 2) {
        sum = add4(sum, w, a[0], a[1]);
    }
    return sum;
}

/** Channels of one pixel, from `channel` on: what is read of its window serves four of them. */
static void convolve_one(const lw_conv2d_params *p, int32_t channel, int32_t count, const int16x2_t *a, int8_t *y)
{
    const lw_range out = lw_range_of(p);
    const int32_t channels = p->out_channels;
    while (channel < channels) {
        int32_t sums[4], there = 4;
        if (channel + 4 <= channels) {
            window_4x1(p->bias + channel, p->weights + channel * count, count, a, sums);
        } else {
            sums[0] = window_1x1(p->bias[channel], p->weights + channel * count, count, a);
            there = 1;
        }
        for (int32_t i = 0; i < there; i++, channel++) {
            const lw_scaler scaler = lw_scaler_of(p, channel);
            y[channel] = lw_scaled(sums[i], &scaler, out);
        }
    }
}

/** Every channel of two pixels: what is read of their windows serves two channels, and the weights both pixels. */
static void convolve_two(const lw_conv2d_params *p, int32_t count, const int16x2_t *a, int8_t *y)
{
    const lw_range out = lw_range_of(p);
    const int32_t channels = p->out_channels;
    int32_t channel = 0;
    for (; channel + 2 <= channels; channel += 2) {
        const lw_scaler s0 = lw_scaler_of(p, channel), s1 = lw_scaler_of(p, channel + 1);
        int32_t sums[4];
        window_2x2(p->bias + channel, p->weights + channel * count, count, a, sums);
        y[channel] = lw_scaled(sums[0], &s0, out);
        y[channel + 1] = lw_scaled(sums[1], &s1, out);
        y[channels + channel] = lw_scaled(sums[2], &s0, out);
        y[channels + channel + 1] = lw_scaled(sums[3], &s1, out);
    }
    convolve_one(p, channel, count, a, y);
    convolve_one(p, channel, count, a + NEXT, y + channels);
}

int lw_dsp_dense_row(const lw_conv2d_params *p, const int8_t *const *rows, int is_image, int8_t *y)
{
    const int32_t count = p->kernel_height * p->kernel_width * p->in_channels, words = (count + 3) / 4 * 2;
    const uint32_t flip = is_image ? 0x80808080u : 0;
    int16x2_t window[MAX_WORDS];
    if (count < 4 || words > MAX_WORDS || !lw_can_scale(p, count)) {
        return 0;
    }
    int32_t column = 0;
    if (words <= NEXT) {
        for (; column + 2 <= p->out_width; column += 2, y += 2 * p->out_channels) {
            unpack(p, rows, column, flip, count, window);
            unpack(p, rows, column + 1, flip, count, window + NEXT);
            convolve_two(p, count, window, y);
        }
    }
    for (; column < p->out_width; column++, y += p->out_channels) {
        unpack(p, rows, column, flip, count, window);
        convolve_one(p, 0, count, window, y);
    }
    return 1;
}

#endif
