"""Functions of a program's own in the place of kernels, and the adapter to CMSIS-NN, here with a stand-in for it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from kernel_library import KERNELS, SOURCES, WARNINGS, run
from networks import Made, pictures, write_files

from lawder_edge.graph.ir import Add, Concat, Conv2D, DepthwiseConv2D, Graph
from lawder_edge.targets.c.example import pnm
from lawder_edge.targets.c.network import RowByRow
from lawder_edge.targets.c.probability import reference_mask

ADAPTER = KERNELS.parents[3] / "firmware_examples" / "cmsis_nn" / "lawder_cmsis_nn.c"

# What the adapter needs of CMSIS-NN's arm_nnfunctions.h, under its names.
HEADER = """
#include <stdint.h>
typedef struct { int32_t w, h; } cmsis_nn_tile;
typedef struct { int32_t min, max; } cmsis_nn_activation;
typedef struct { void *buf; int32_t size; } cmsis_nn_context;
typedef struct { int32_t n, h, w, c; } cmsis_nn_dims;
typedef struct { int32_t *multiplier, *shift; } cmsis_nn_per_channel_quant_params;
typedef struct {
    int32_t input_offset, output_offset;
    cmsis_nn_tile stride, padding, dilation;
    cmsis_nn_activation activation;
} cmsis_nn_conv_params;
typedef struct {
    int32_t input_offset, output_offset, ch_mult;
    cmsis_nn_tile stride, padding, dilation;
    cmsis_nn_activation activation;
} cmsis_nn_dw_conv_params;
typedef enum { ARM_CMSIS_NN_SUCCESS = 0, ARM_CMSIS_NN_ARG_ERROR = -1 } arm_cmsis_nn_status;
#define SIZES const cmsis_nn_dims *in, const cmsis_nn_dims *filter, const cmsis_nn_dims *out
#define DATA const cmsis_nn_per_channel_quant_params *q, const cmsis_nn_dims *in, const int8_t *x, \\
    const cmsis_nn_dims *filter, const int8_t *w, const cmsis_nn_dims *bias_dims, const int32_t *bias, \\
    const cmsis_nn_dims *out, int8_t *y
int32_t arm_convolve_wrapper_s8_get_buffer_size(const cmsis_nn_conv_params *p, SIZES);
int32_t arm_depthwise_conv_wrapper_s8_get_buffer_size(const cmsis_nn_dw_conv_params *p, SIZES);
arm_cmsis_nn_status arm_convolve_wrapper_s8(const cmsis_nn_context *c, const cmsis_nn_conv_params *p, DATA);
arm_cmsis_nn_status arm_depthwise_conv_wrapper_s8(const cmsis_nn_context *c, const cmsis_nn_dw_conv_params *p, DATA);
"""

# Plain loops over whole pictures, which say at the program's end how often they were called.
SOURCE = """
#include <stdio.h>
#include <stdlib.h>
#include "arm_nnfunctions.h"
#include "lawder_arithmetic.h"
static int pointwise, wide, depthwise, refused;
static void tell(void) { printf("%d %d %d %d\\n", pointwise, wide, depthwise, refused); }
static void count(int *what)
{
    if (pointwise + wide + depthwise + refused == 0) { atexit(tell); }
    ++*what;
}
static int8_t value(const cmsis_nn_conv_params *p, DATA, int each, int32_t row, int32_t column, int32_t o)
{
    int32_t sum = bias[o];
    (void)bias_dims; (void)y;
    for (int32_t i = 0; i < filter->h; i++) {
        for (int32_t j = 0; j < filter->w; j++) {
            const int32_t r = row * p->stride.h - p->padding.h + i, s = column * p->stride.w - p->padding.w + j;
            const int is_inside = r >= 0 && r < in->h && s >= 0 && s < in->w;
            for (int32_t k = each ? o : 0; is_inside && k < (each ? o + 1 : in->c); k++) {
                const int32_t tap = i * filter->w + j;
                const int32_t at = each ? tap * out->c + o : (o * filter->h * filter->w + tap) * in->c + k;
                sum += (x[(r * in->w + s) * in->c + k] + p->input_offset) * w[at];
            }
        }
    }
    return lw_clamp(lw_rescale(sum, q->multiplier[o], q->shift[o]) + p->output_offset, p->activation.min,
                    p->activation.max);
}
static void all(const cmsis_nn_conv_params *p, DATA, int each)
{
    for (int32_t row = 0; row < out->h; row++) {
        for (int32_t column = 0; column < out->w; column++) {
            for (int32_t o = 0; o < out->c; o++) {
                y[(row * out->w + column) * out->c + o] =
                    value(p, q, in, x, filter, w, bias_dims, bias, out, y, each, row, column, o);
            }
        }
    }
}
int32_t arm_convolve_wrapper_s8_get_buffer_size(const cmsis_nn_conv_params *p, SIZES)
{
    (void)p; (void)in; (void)out;
    return 4 * filter->h * filter->w * filter->c;
}
int32_t arm_depthwise_conv_wrapper_s8_get_buffer_size(const cmsis_nn_dw_conv_params *p, SIZES)
{
    (void)p; (void)in; (void)filter; (void)out;
    return 0;
}
arm_cmsis_nn_status arm_convolve_wrapper_s8(const cmsis_nn_context *c, const cmsis_nn_conv_params *p, DATA)
{
    if (c->size < 4 * filter->h * filter->w * filter->c) { abort(); }
    if (out->c == 5) { count(&refused); return ARM_CMSIS_NN_ARG_ERROR; }
    count(filter->h == 1 ? &pointwise : &wide);
    all(p, q, in, x, filter, w, bias_dims, bias, out, y, 0);
    return ARM_CMSIS_NN_SUCCESS;
}
arm_cmsis_nn_status arm_depthwise_conv_wrapper_s8(const cmsis_nn_context *c, const cmsis_nn_dw_conv_params *p, DATA)
{
    const cmsis_nn_conv_params same = {p->input_offset, p->output_offset, p->stride, p->padding, p->dilation,
                                       p->activation};
    (void)c;
    count(&depthwise);
    all(&same, q, in, x, filter, w, bias_dims, bias, out, y, 1);
    return ARM_CMSIS_NN_SUCCESS;
}
"""


def network() -> Graph:
    """Convolutions that the adapter hands on (1x1, 3x3, depthwise) and that it cannot (dilation, two inputs)."""
    m = Made(17, 13, weight_scale=0.007)
    x = m.add(Conv2D("same", (2, 1)), "image", shape=(6, 3, 3))
    x = m.add(Conv2D("same"), m.add(Conv2D("same", activation="relu"), x, shape=(8, 1, 1)), shape=(4, 3, 3))
    each = m.add(Add(), *(m.add(DepthwiseConv2D("same", dilation=d), x, shape=(4, 3, 3)) for d in ((1, 1), (2, 2))))
    both = m.add(Conv2D("same"), m.add(Concat(3), x, each), shape=(4, 3, 3))
    refused = m.add(Conv2D("same"), both, shape=(5, 3, 3))
    return m.graph(m.add(Conv2D(), refused, shape=(1, 1, 1)))


@pytest.mark.parametrize("row_by_row", ["never", "always"])
def test_the_adapter_hands_convolutions_on_and_masks_stay_the_same(
    row_by_row: RowByRow, tmp_path: Path, needs_gcc: None
) -> None:
    graph = network()
    write_files(graph, tmp_path, row_by_row=row_by_row)
    (tmp_path / "arm_nnfunctions.h").write_text(HEADER)
    (tmp_path / "stand_in.c").write_text(SOURCE)
    main = KERNELS.parents[3] / "export" / "c" / "main.c"
    files = [main, tmp_path / "net.c", tmp_path / "stand_in.c", ADAPTER, *SOURCES]
    run([
        "gcc", "-std=c99", *WARNINGS, "-fsanitize=address,undefined", f"-I{KERNELS}", f"-I{tmp_path}",
        *map(str, files), "-o", str(tmp_path / "segment"),
    ])  # fmt: skip
    counts = set()
    for picture in pictures(graph, 2):
        (tmp_path / "p.ppm").write_bytes(pnm(picture))
        command = [str(tmp_path / "segment"), str(tmp_path / "p.ppm"), str(tmp_path / "m.pgm")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / "m.pgm").read_bytes() == pnm(reference_mask(graph, picture, 0.5)[:, :, None])
        counts.add(re.findall(r"^(\d+) (\d+) (\d+) (\d+)$", done.stdout, re.M)[0])
    # Nine rows of each: of 1x1 the second and the last convolution, of 3x3 the third, of depthwise ones that without
    # dilation, and the one that is refused.
    assert counts == {("18", "9", "9", "9")}


def test_of_all_kernels_only_our_own_second_names_are_strong(tmp_path: Path, needs_gcc: None) -> None:
    strong = set()
    for source in SOURCES:
        run(["gcc", "-std=c99", f"-I{KERNELS}", "-c", str(source), "-o", str(tmp_path / "out.o")])
        strong |= set(re.findall(r" T (\w+)", run(["nm", str(tmp_path / "out.o")]).stdout))
    assert strong == {"lw_own_conv2d_row", "lw_own_depthwise_conv2d_row"}
