/**
 * @file convolutions.c
 * Instructions of our convolutions and CMSIS-NN's on the same numbers, as rows of a table. Exit code 0 only where both
 * give the same bits.
 */
#include "arm_nnfunctions.h"
#include "board.h"
#include "lawder_kernels.h"
#include "number.h"

#define MOST 65536
#define CHANNELS 64

/** size: of input and window in pixels. */
typedef struct {
    const char *name;
    uint16_t size, in_channels, out_channels;
    uint8_t window, stride;
    int is_depthwise;
} layer;

/* The first six and the 1x1 of 16 are ORDER's. */
static const layer layers[] = {
    {"6x6 stride 2, 3 to 12 channels", 64, 3, 12, 6, 2, 0},  {"3x3, 12 to 12", 32, 12, 12, 3, 1, 0},
    {"3x3, 12 to 16", 16, 12, 16, 3, 1, 0},                  {"3x3, 16 to 16", 16, 16, 16, 3, 1, 0},
    {"3x3, 28 to 12", 16, 28, 12, 3, 1, 0},                  {"3x3, 32 to 16", 16, 32, 16, 3, 1, 0},
    {"3x3, 6 to 6", 32, 6, 6, 3, 1, 0},                      {"3x3, 20 to 10", 32, 20, 10, 3, 1, 0},
    {"1x1, 10 to 12", 32, 10, 12, 1, 1, 0},                  {"1x1, 16 to 8", 16, 16, 8, 1, 1, 0},
    {"depthwise 3x3, 24", 16, 24, 24, 3, 1, 1},              {"depthwise 5x5, 24", 16, 24, 24, 5, 1, 1},
};

static int8_t x[MOST], ours[MOST], theirs[MOST], weights[8192];
static int32_t bias[CHANNELS], multiplier[CHANNELS], shift[CHANNELS], buffer[4096];
static int8_t shift_bytes[CHANNELS];
static uint32_t state = 1;

static int32_t noise(int32_t bits)
{
    state = state * 1664525u + 1013904223u;
    return (int32_t)state >> (32 - bits);
}

static void write_cell(uint64_t value, const char *before)
{
    board_write(before);
    write_digits(value);
}

static lw_conv2d_params params_of(const layer *l)
{
    const uint16_t out = (uint16_t)((l->size + l->stride - 1) / l->stride);
    const uint8_t pad = (uint8_t)((l->window - 1) / 2);
    const lw_conv2d_params p = {
        l->size, l->size, l->in_channels, l->in_channels, out, out, l->out_channels, l->window, l->window, l->stride,
        l->stride, 1, 1, pad, pad, -7, 4, -128, 127, weights, bias, multiplier, shift_bytes,
    };
    return p;
}

static int theirs_of(const layer *l, const lw_conv2d_params *p)
{
    const cmsis_nn_context context = {buffer, sizeof buffer};
    const cmsis_nn_per_channel_quant_params scales = {multiplier, shift};
    const cmsis_nn_tile stride = {l->stride, l->stride}, pad = {p->pad_left, p->pad_top}, one = {1, 1};
    const cmsis_nn_activation range = {p->out_min, p->out_max};
    const cmsis_nn_dims input = {1, l->size, l->size, l->in_channels}, biases = {1, 1, 1, l->out_channels};
    const cmsis_nn_dims output = {1, p->out_height, p->out_width, l->out_channels};
    if (l->is_depthwise) {
        const cmsis_nn_dims filter = {1, l->window, l->window, l->out_channels};
        const cmsis_nn_dw_conv_params conv = {-p->in_zero_point, p->out_zero_point, 1, stride, pad, one, range};
        return arm_depthwise_conv_wrapper_s8(&context, &conv, &scales, &input, x, &filter, weights, &biases, bias,
                                             &output, theirs) == ARM_CMSIS_NN_SUCCESS;
    }
    const cmsis_nn_dims filter = {l->out_channels, l->window, l->window, l->in_channels};
    const cmsis_nn_conv_params conv = {-p->in_zero_point, p->out_zero_point, stride, pad, one, range};
    return arm_convolve_wrapper_s8(&context, &conv, &scales, &input, x, &filter, weights, &biases, bias, &output,
                                   theirs) == ARM_CMSIS_NN_SUCCESS;
}

static int compare(const layer *l)
{
    const lw_conv2d_params p = params_of(l);
    const uint32_t depth = l->is_depthwise ? 1u : l->in_channels;
    const uint32_t values = (uint32_t)p.out_height * p.out_width * l->out_channels;
    uint64_t at = board_instructions(), counts[2];
    if (l->is_depthwise) {
        lw_depthwise_conv2d(&p, x, ours);
    } else {
        lw_conv2d(&p, x, ours);
    }
    counts[0] = board_instructions() - at;
    at = board_instructions();
    int is_same = theirs_of(l, &p);
    counts[1] = board_instructions() - at;
    for (uint32_t i = 0; i < values; i++) {
        is_same &= ours[i] == theirs[i];
    }
    const uint64_t macs = (uint64_t)values * l->window * l->window * depth;
    board_write("| ");
    board_write(l->name);
    write_cell(macs, " | ");
    for (int i = 0; i < 2; i++) {
        write_cell(counts[i], " | ");
        write_cell(macs * 100 / counts[i] / 100, " | ");
        write_cell(macs * 100 / counts[i] / 10 % 10, ".");
        write_cell(macs * 100 / counts[i] % 10, "");
    }
    board_write(is_same ? " |\n" : " | OTHER BITS\n");
    return is_same;
}

int main(void)
{
    int is_same = 1;
    for (uint32_t i = 0; i < sizeof x; i++) {
        x[i] = (int8_t)noise(8);
    }
    for (uint32_t i = 0; i < sizeof weights; i++) {
        weights[i] = (int8_t)noise(8);
    }
    for (uint32_t i = 0; i < CHANNELS; i++) {
        bias[i] = noise(14);
        multiplier[i] = (1 << 30) + (noise(30) & 0x3fffffff);
        shift[i] = shift_bytes[i] = (int8_t)(-8 - (int32_t)(i % 3));
    }
    board_write("| convolution | multiplications | ours | an instruction | CMSIS-NN | an instruction |\n|---|---:|---:|---:|---:|---:|\n");
    for (uint32_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        is_same &= compare(&layers[i]);
    }
    board_write(is_same ? "the same bits\n" : "FAILED\n");
    return is_same ? 0 : 1;
}
