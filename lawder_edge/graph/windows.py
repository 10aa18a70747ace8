"""Arrays of windows, and where each pixel of a resized picture comes from: what float and integer kernels share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from lawder_edge.errors import BadInput
from lawder_edge.graph.geometry import border
from lawder_edge.graph.ir import Array, Padding, Pair

Index = npt.NDArray[np.int64]


def windows(
    x: Array, size: Pair, *, stride: Pair, padding: Padding, dilation: Pair = (1, 1), fill: float = 0
) -> npt.NDArray[Any]:
    """x: (1, H, W, C) -> a view (h, w, C, kh, kw); `fill` stands for what is beyond the border."""
    around = [
        border(length, k, stride=s, padding=padding, dilation=d)
        for length, k, s, d in zip(x.shape[1:3], size, stride, dilation, strict=True)
    ]
    padded = np.pad(x[0], (*around, (0, 0)), constant_values=fill)
    reach = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    view = sliding_window_view(padded, reach, axis=(0, 1))
    return view[:: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]


def bilinear_step(length: int, output: int, *, align_corners: bool) -> tuple[int, int]:
    """Output position i comes from i * step + offset, in 1/1024 pixels: step and offset.

    Raises BadInput for lengths at which the step, rounded to 1/1024, leads beyond the last pixel.
    """
    if align_corners and output > 1:
        step, offset = ((1 << 10) * (length - 1) + (output - 1) // 2) // (output - 1), 0
    else:
        step = ((1 << 10) * length + output // 2) // output
        offset = 0 if align_corners else step // 2 - (1 << 9)
    if (output - 1) * step + offset >= 1024 * length:
        raise BadInput(
            f"a bilinear resize of {length} to {output} pixels: in int8 its steps of 1/1024 lead beyond the last one. "
            "Resize in two steps, or to another size."
        )
    return step, offset


def bilinear_sources(length: int, output: int, *, align_corners: bool) -> tuple[Index, Index, Index]:
    """Of each output position its source in 1/1024 pixels, and the two pixels between which that lies: (output,) each.

    The integers of TFLite's int8 kernel. Raises BadInput as `bilinear_step`.
    """
    scale, offset = bilinear_step(length, output, align_corners=align_corners)
    source = np.arange(output, dtype=np.int64) * scale + offset
    # C++ divides towards zero; the lowest source is above -1024, so that both ends become 0.
    lower = np.maximum(source, 0) // 1024
    upper = np.minimum(np.maximum(source + 1023, 0) // 1024, length - 1)
    return source, lower, upper


def bilinear_sources_float(length: int, output: int, *, align_corners: bool) -> tuple[npt.NDArray[Any], Index, Index]:
    """As `bilinear_sources` in float32 pixels."""
    one = np.float32(1)
    i = np.arange(output).astype(np.float32)
    if align_corners and output > 1:
        source = i * (np.float32(length - 1) / np.float32(output - 1))
    else:
        scale = np.float32(length) / np.float32(output)
        source = i * scale if align_corners else (i + one / 2) * scale - one / 2
    floor = np.floor(source).astype(np.int64)
    lower = np.maximum(floor, 0)
    return source.astype(np.float32), lower, np.minimum(floor + 1, length - 1)


def nearest_sources(length: int, output: int) -> Index:
    """floor(i * length / output), in float32 as the kernels compute it."""
    scale = np.float32(length) / np.float32(output)
    return np.asarray(np.minimum(np.floor(np.arange(output).astype(np.float32) * scale), length - 1), np.int64)
