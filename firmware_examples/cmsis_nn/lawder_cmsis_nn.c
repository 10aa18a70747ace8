/**
 * @file lawder_cmsis_nn.c
 * Convolutions by CMSIS-NN in the place of ours: compile this file and CMSIS-NN into the program, nothing else changes.
 *
 * The kernels of lawder_kernels.h are weak symbols, so that the functions of the same names here are taken. They work a
 * row at a time, for whole tensors as for line buffers. What CMSIS-NN has no kernel for (two inputs, dilation, pictures'
 * bytes) goes to our own, by their second names. Masks stay the same bits: CMSIS-NN rounds as TensorFlow Lite Micro does
 * unless CMSIS_NN_USE_SINGLE_ROUNDING is defined.
 *
 * It keeps memory of its own beside the arena, and is not to be called from two threads. Sizes may be set by macros;
 * a convolution that needs more is computed by our kernels.
 */
#include "arm_nnfunctions.h"
#include "lawder_kernels.h"

/** Rows of a window that do not lie one after the other, in bytes. */
#ifndef LW_CMSIS_ROWS_BYTES
#define LW_CMSIS_ROWS_BYTES 8192
#endif
/** CMSIS-NN's own buffer, in bytes. */
#ifndef LW_CMSIS_BUFFER_BYTES
#define LW_CMSIS_BUFFER_BYTES 4096
#endif
/** The most output channels. */
#ifndef LW_CMSIS_CHANNELS
#define LW_CMSIS_CHANNELS 128
#endif

static int8_t gathered[LW_CMSIS_ROWS_BYTES];
static int32_t buffer[LW_CMSIS_BUFFER_BYTES / 4];
static int32_t shifts[LW_CMSIS_CHANNELS];

/** The rows of a window that are there, as a picture. above: rows of the window before them. Null data: none, or no room. */
typedef struct {
    const int8_t *data;
    int32_t height, above;
} picture;

static picture picture_of(const lw_conv2d_params *p, const int8_t *const *rows)
{
    const int32_t row_bytes = p->in_width * p->in_channels;
    picture found = {NULL, 0, 0};
    int is_one = 1;
    while (found.above < p->kernel_height && rows[found.above] == NULL) {
        found.above++;
    }
    while (found.above + found.height < p->kernel_height && rows[found.above + found.height] != NULL) {
        is_one &= rows[found.above + found.height] == rows[found.above] + found.height * row_bytes;
        found.height++;
    }
    if (found.height > 0 && is_one) {
        found.data = rows[found.above];
    } else if (found.height > 0 && found.height * row_bytes <= LW_CMSIS_ROWS_BYTES) {
        for (int32_t row = 0; row < found.height; row++) {
            for (int32_t i = 0; i < row_bytes; i++) {
                gathered[row * row_bytes + i] = rows[found.above + row][i];
            }
        }
        found.data = gathered;
    }
    return found;
}

/** What both kinds of convolution are told in the same way. */
typedef struct {
    cmsis_nn_context context;
    cmsis_nn_per_channel_quant_params scales;
    cmsis_nn_dims input, filter, bias, output;
} call;

static call call_of(const lw_conv2d_params *p, picture from)
{
    call c;
    for (int32_t channel = 0; channel < p->out_channels; channel++) {
        shifts[channel] = p->shift[channel];
    }
    c.context.buf = buffer;
    c.context.size = LW_CMSIS_BUFFER_BYTES;
    /* It only reads them. */
    c.scales.multiplier = (int32_t *)(uintptr_t)p->multiplier;
    c.scales.shift = shifts;
    c.input = (cmsis_nn_dims){1, from.height, p->in_width, p->in_channels};
    c.filter = (cmsis_nn_dims){p->out_channels, p->kernel_height, p->kernel_width, p->in_channels};
    c.bias = (cmsis_nn_dims){1, 1, 1, p->out_channels};
    c.output = (cmsis_nn_dims){1, 1, p->out_width, p->out_channels};
    return c;
}

/** Asked before the rows are gathered: those of two inputs are not of `in_channels`. */
static int is_taken(const lw_conv2d_params *p)
{
    return p->first_channels == p->in_channels && p->dilation_x == 1 && p->dilation_y == 1 &&
           p->out_channels <= LW_CMSIS_CHANNELS;
}

void lw_conv2d_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y)
{
    const picture nothing = {NULL, 0, 0};
    const picture from = is_taken(p) ? picture_of(p, rows) : nothing;
    if (from.data != NULL) {
        const call c = call_of(p, from);
        const cmsis_nn_conv_params conv = {
            -p->in_zero_point, p->out_zero_point, {p->stride_x, p->stride_y}, {p->pad_left, from.above}, {1, 1},
            {p->out_min, p->out_max},
        };
        if (arm_convolve_wrapper_s8_get_buffer_size(&conv, &c.input, &c.filter, &c.output) <= LW_CMSIS_BUFFER_BYTES &&
            arm_convolve_wrapper_s8(&c.context, &conv, &c.scales, &c.input, from.data, &c.filter, p->weights, &c.bias,
                                    p->bias, &c.output, y) == ARM_CMSIS_NN_SUCCESS) {
            return;
        }
    }
    lw_own_conv2d_row(p, rows, y);
}

void lw_depthwise_conv2d_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y)
{
    const picture nothing = {NULL, 0, 0};
    const picture from = is_taken(p) && p->in_channels == p->out_channels ? picture_of(p, rows) : nothing;
    if (from.data != NULL) {
        call c = call_of(p, from);
        const cmsis_nn_dw_conv_params conv = {
            -p->in_zero_point, p->out_zero_point, 1, {p->stride_x, p->stride_y}, {p->pad_left, from.above}, {1, 1},
            {p->out_min, p->out_max},
        };
        c.filter = (cmsis_nn_dims){1, p->kernel_height, p->kernel_width, p->out_channels};
        if (arm_depthwise_conv_wrapper_s8_get_buffer_size(&conv, &c.input, &c.filter, &c.output) <=
                LW_CMSIS_BUFFER_BYTES &&
            arm_depthwise_conv_wrapper_s8(&c.context, &conv, &c.scales, &c.input, from.data, &c.filter, p->weights,
                                          &c.bias, p->bias, &c.output, y) == ARM_CMSIS_NN_SUCCESS) {
            return;
        }
    }
    lw_own_depthwise_conv2d_row(p, rows, y);
}
