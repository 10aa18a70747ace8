/**
 * @file random_operators.c
 * Convolutions of four kinds, sums, differences, products, resizes and maxima of random shapes, values and scales within
 * the ranges of lawder_kernels.h: a CRC of the results of each kind, which must not depend on the processor. CASES: of each kind.
 */
#include "board.h"
#include "lawder_kernels.h"
#include "number.h"

#define MOST 40000
#define GUARD 32

static int8_t a[MOST], b[MOST], results[MOST + 2 * GUARD], weights[70000];
static int32_t bias[128], multipliers[128];
static int8_t shifts[128];
static uint64_t state = 1;
static uint32_t written_outside;

static uint32_t number(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

static int32_t between(int32_t least, int32_t most)
{
    return least + (int32_t)(number() % (uint32_t)(most - least + 1));
}

/** All values, the smallest alone, both ends, or some near 0. */
static void fill(int8_t *x, uint32_t count)
{
    const int32_t kind = between(0, 3);
    for (uint32_t i = 0; i < count; i++) {
        x[i] = (int8_t)(kind == 0 ? between(-128, 127) : kind == 1 ? -128 : kind == 2 ? (between(0, 1) ? 127 : -128)
                                                                                     : between(-3, 3));
    }
}

static int32_t multiplier(void)
{
    const int32_t kind = between(0, 9), half = 1 << 30;
    return kind == 0 ? 0 : kind == 1 ? half : kind == 2 ? INT32_MAX : half + (int32_t)(number() & 0x3fffffffu);
}

static int8_t zero_point(void)
{
    const int32_t kind = between(0, 3);
    return (int8_t)(kind == 0 ? -128 : kind == 1 ? 127 : between(-128, 127));
}

static uint32_t crc_of(uint32_t crc, const int8_t *x, uint32_t count)
{
    crc = ~crc;
    for (uint32_t i = 0; i < count; i++) {
        crc ^= (uint8_t)x[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}

static void guard(uint32_t count)
{
    for (uint32_t i = 0; i < count + 2 * GUARD; i++) {
        results[i] = 0x55;
    }
}

static uint32_t checked(uint32_t crc, uint32_t count)
{
    for (uint32_t i = 0; i < GUARD; i++) {
        written_outside += (results[i] != 0x55 || results[GUARD + count + i] != 0x55) ? 1u : 0u;
    }
    return crc_of(crc, results + GUARD, count);
}

/** kind: 0 dense, 1 depthwise, 2 of two inputs, 3 of a picture. Returns whether the shape fits here. */
static int draw_shape(lw_conv2d_params *p, int kind)
{
    p->in_height = (uint16_t)between(1, 9);
    p->in_width = (uint16_t)between(1, 17);
    p->in_channels = (uint16_t)between(1, kind == 3 ? 4 : between(0, 3) ? 12 : 64);
    p->kernel_height = (uint8_t)between(1, between(0, 2) ? 3 : 7);
    p->kernel_width = (uint8_t)between(1, between(0, 2) ? 3 : 9);
    p->stride_y = (uint8_t)between(1, 3);
    p->stride_x = (uint8_t)between(1, 3);
    p->dilation_y = (uint8_t)between(1, between(0, 3) ? 1 : 3);
    p->dilation_x = (uint8_t)between(1, between(0, 3) ? 1 : 3);
    const int32_t reach_y = (p->kernel_height - 1) * p->dilation_y, reach_x = (p->kernel_width - 1) * p->dilation_x;
    p->pad_top = (uint8_t)between(0, reach_y);
    p->pad_left = (uint8_t)between(0, reach_x);
    const int32_t height = p->in_height + p->pad_top + between(0, reach_y) - reach_y - 1;
    const int32_t width = p->in_width + p->pad_left + between(0, reach_x) - reach_x - 1;
    p->out_height = (uint16_t)(height / p->stride_y + 1);
    p->out_width = (uint16_t)(width / p->stride_x + 1);
    p->out_channels = (uint16_t)between(1, between(0, 3) ? 9 : 100);
    p->first_channels = p->in_channels;
    if (kind == 1) {
        p->out_channels = (uint16_t)(p->in_channels * between(1, 2));
    } else if (kind == 2) {
        p->in_channels = (uint16_t)(p->in_channels + 1);
        p->first_channels = (uint16_t)between(1, p->in_channels - 1);
    }
    const int32_t taps = p->kernel_height * p->kernel_width * (kind == 1 ? 1 : p->in_channels);
    return height >= 0 && width >= 0 && p->out_channels <= 128 && taps * p->out_channels <= 70000 &&
           p->in_height * p->in_width * p->in_channels <= MOST && p->out_height * p->out_width * p->out_channels <= MOST;
}

static uint32_t convolve(int kind, uint32_t crc)
{
    lw_conv2d_params p;
    while (!draw_shape(&p, kind)) {
    }
    const int32_t taps = p.kernel_height * p.kernel_width * (kind == 1 ? 1 : p.in_channels);
    const int is_extreme = between(0, 4) == 0;
    const int32_t most = is_extreme ? INT32_MAX - taps * 255 * 128 - 1 : 60000;
    p.in_zero_point = zero_point();
    p.out_zero_point = zero_point();
    p.out_min = (int8_t)(between(0, 2) ? -128 : between(-128, 0));
    p.out_max = (int8_t)(between(0, 2) ? 127 : between(0, 127));
    for (int i = 0; i < p.out_channels; i++) {
        bias[i] = is_extreme && between(0, 1) ? (between(0, 1) ? most : -most) : between(-60000, 60000);
        multipliers[i] = multiplier();
        shifts[i] = (int8_t)(is_extreme ? between(-31, 30) : between(-14, -5));
    }
    p.weights = weights;
    p.bias = bias;
    p.multiplier = multipliers;
    p.shift = shifts;
    fill(weights, (uint32_t)(taps * p.out_channels));
    fill(a, MOST);
    const uint32_t count = (uint32_t)p.out_height * p.out_width * p.out_channels;
    guard(count);
    if (kind == 0) {
        lw_conv2d(&p, a, results + GUARD);
    } else if (kind == 1) {
        lw_depthwise_conv2d(&p, a, results + GUARD);
    } else if (kind == 2) {
        lw_conv2d_two(&p, a, b, results + GUARD);
    } else {
        lw_conv2d_image(&p, (const uint8_t *)a, results + GUARD);
    }
    return checked(crc, count);
}

/** kind: 0 a sum, 1 a difference, 2 a product. */
static uint32_t combine(int kind, uint32_t crc)
{
    lw_broadcast shape;
    for (int i = 0; i < 3; i++) {
        shape.count[i] = (uint32_t)between(1, i == 2 ? 37 : 6);
    }
    const uint32_t dense[3] = {shape.count[1] * shape.count[2], shape.count[2], 1};
    const uint32_t count = shape.count[0] * dense[0];
    for (int i = 0; i < 3; i++) {
        shape.a_step[i] = between(0, 3) ? dense[i] : 0;
        shape.b_step[i] = between(0, 3) ? dense[i] : 0;
    }
    fill(a, count);
    fill(b, count);
    guard(count);
    const int8_t zero_a = zero_point(), zero_b = zero_point(), zero = zero_point();
    const int8_t low = (int8_t)between(-128, 0), high = (int8_t)between(0, 127);
    if (kind == 2) {
        const lw_mul_params p = {
            zero_a, zero_b, zero, low, high, (int8_t)(between(0, 1) ? between(-31, 14) : between(-9, -5)), multiplier(),
        };
        lw_mul(&p, &shape, a, b, results + GUARD);
        return checked(crc, count);
    }
    /* The operand of the larger scale is halved exactly. */
    const int is_a = between(0, 1);
    const int8_t other = (int8_t)between(-31, 0), out = (int8_t)(between(0, 1) ? between(-31, 2) : between(-21, -16));
    const int32_t scale = other == 0 ? 1 << 30 : multiplier();
    const lw_add_params p = {
        zero_a, zero_b, zero, low, high, (int8_t)(is_a ? 0 : other), (int8_t)(is_a ? other : 0), out,
        is_a ? 1 << 30 : scale, is_a ? scale : 1 << 30, multiplier(),
    };
    (kind == 0 ? lw_add : lw_sub)(&p, &shape, a, b, results + GUARD);
    return checked(crc, count);
}

static uint32_t resize(uint32_t crc)
{
    lw_resize_params p;
    p.in_height = (uint16_t)between(1, 9);
    p.in_width = (uint16_t)between(1, 13);
    p.channels = (uint16_t)between(1, between(0, 1) ? 1 : 21);
    p.out_height = (uint16_t)between(1, 19);
    p.out_width = (uint16_t)between(1, 27);
    p.scale_y = between(0, 2) ? p.in_height * 1024 / p.out_height : between(0, 3000);
    p.scale_x = between(0, 2) ? p.in_width * 1024 / p.out_width : between(0, 3000);
    p.offset_y = between(0, 1) ? (p.scale_y - 1024) / 2 : between(-1023, 1024);
    p.offset_x = between(0, 1) ? (p.scale_x - 1024) / 2 : between(-1023, 1024);
    p.offset_y = p.offset_y < -1023 ? -1023 : p.offset_y;
    p.offset_x = p.offset_x < -1023 ? -1023 : p.offset_x;
    /* The last source lies less than a pixel beyond the border. */
    if ((p.out_height - 1) * p.scale_y + p.offset_y >= p.in_height * 1024 ||
        (p.out_width - 1) * p.scale_x + p.offset_x >= p.in_width * 1024) {
        return crc;
    }
    const uint32_t count = (uint32_t)p.out_height * p.out_width * p.channels;
    fill(a, (uint32_t)p.in_height * p.in_width * p.channels);
    guard(count);
    lw_resize_bilinear(&p, a, results + GUARD);
    return checked(crc, count);
}

static uint32_t maxima(uint32_t crc)
{
    lw_pool_params p;
    p.in_height = (uint16_t)between(1, 9);
    p.in_width = (uint16_t)between(1, 13);
    p.channels = (uint16_t)between(1, 40);
    p.size_y = (uint8_t)between(1, p.in_height < 5 ? p.in_height : 5);
    p.size_x = (uint8_t)between(1, p.in_width < 5 ? p.in_width : 5);
    p.stride_y = (uint8_t)between(1, 3);
    p.stride_x = (uint8_t)between(1, 3);
    p.pad_top = (uint8_t)between(0, p.size_y - 1);
    p.pad_left = (uint8_t)between(0, p.size_x - 1);
    p.out_height = (uint16_t)((p.in_height - 1 + p.pad_top) / p.stride_y + 1);
    p.out_width = (uint16_t)((p.in_width - 1 + p.pad_left) / p.stride_x + 1);
    const uint32_t count = (uint32_t)p.out_height * p.out_width * p.channels;
    fill(a, (uint32_t)p.in_height * p.in_width * p.channels);
    guard(count);
    lw_max_pool2d(&p, a, results + GUARD);
    return checked(crc, count);
}

int main(void)
{
    uint32_t crcs[9] = {0};
    fill(b, MOST);
    for (int i = 0; i < CASES; i++) {
        for (int kind = 0; kind < 4; kind++) {
            crcs[kind] = convolve(kind, crcs[kind]);
        }
        for (int kind = 0; kind < 3; kind++) {
            crcs[4 + kind] = combine(kind, crcs[4 + kind]);
        }
        crcs[7] = resize(crcs[7]);
        crcs[8] = maxima(crcs[8]);
    }
    for (int i = 0; i < 9; i++) {
        write_digits(crcs[i]);
        board_write(i < 8 ? " " : "\n");
    }
    board_write(written_outside ? "written outside of an output\n" : "");
    return written_outside != 0;
}
