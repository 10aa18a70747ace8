"""C structures and constants as Python values, so that the same ones go into a file and into a test of a kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from lawder_edge.errors import BadInput
from lawder_edge.graph.ir import Array

# Field and type of each structure of lawder_kernels.h, in its order; [n] is an array.
_CONV = (
    *((n, "uint16_t") for n in (
        "in_height", "in_width", "in_channels", "first_channels", "out_height", "out_width", "out_channels")),
    *((n, "uint8_t") for n in (
        "kernel_height", "kernel_width", "stride_y", "stride_x", "dilation_y", "dilation_x", "pad_top", "pad_left")),
    *((n, "int8_t") for n in ("in_zero_point", "out_zero_point", "out_min", "out_max")),
    ("weights", "const int8_t *"), ("bias", "const int32_t *"), ("multiplier", "const int32_t *"),
    ("shift", "const int8_t *"),
)  # fmt: skip
_ADD = (
    *((n, "int8_t") for n in (
        "a_zero_point", "b_zero_point", "out_zero_point", "out_min", "out_max", "a_shift", "b_shift", "out_shift")),
    *((n, "int32_t") for n in ("a_multiplier", "b_multiplier", "out_multiplier")),
)  # fmt: skip
_MUL = (
    *((n, "int8_t") for n in ("a_zero_point", "b_zero_point", "out_zero_point", "out_min", "out_max", "shift")),
    ("multiplier", "int32_t"),
)
_POOL = (
    *((n, "uint16_t") for n in ("in_height", "in_width", "channels", "out_height", "out_width")),
    *((n, "uint8_t") for n in ("size_y", "size_x", "stride_y", "stride_x", "pad_top", "pad_left")),
)
_MATMUL = (
    *((n, "uint16_t") for n in ("batch", "rows", "inner", "columns")),
    *((n, "uint32_t") for n in ("a_row", "a_column", "b_row", "b_column")),
    *((n, "int8_t") for n in ("a_zero_point", "b_zero_point", "out_zero_point", "shift")),
    ("multiplier", "int32_t"),
)
_RESIZE = (
    *((n, "uint16_t") for n in ("in_height", "in_width", "channels", "out_height", "out_width")),
    *((n, "int32_t") for n in ("scale_y", "scale_x", "offset_y", "offset_x")),
)
LAYOUTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "lw_conv2d_params": _CONV,
    "lw_broadcast": (("count", "uint32_t[3]"), ("a_step", "uint32_t[3]"), ("b_step", "uint32_t[3]")),
    "lw_add_params": _ADD,
    "lw_mul_params": _MUL,
    "lw_pool_params": _POOL,
    "lw_reduce_shape": (("outer", "uint32_t"), ("count", "uint32_t"), ("inner", "uint32_t")),
    "lw_mean_params": (
        ("in_zero_point", "int8_t"), ("out_zero_point", "int8_t"), ("shift", "int8_t"), ("multiplier", "int32_t")
    ),
    "lw_softmax_params": (
        ("rows", "uint32_t"), ("length", "uint16_t"), ("shift", "uint8_t"), ("smallest", "int16_t"),
        ("multiplier", "int32_t"),
    ),
    "lw_matmul_params": _MATMUL,
    "lw_resize_params": _RESIZE,
    "lw_transpose_params": (("shape", "uint16_t[4]"), ("x_step", "uint32_t[4]")),
    "lw_pad_params": (
        ("in_shape", "uint16_t[4]"), ("before", "uint16_t[4]"), ("after", "uint16_t[4]"), ("value", "int8_t")
    ),
    "lw_rows": (
        ("offset", "uint32_t"), ("row_bytes", "uint16_t"), ("height", "uint16_t"), ("ring", "uint16_t"),
        ("place", "uint8_t"), ("maker", "uint8_t"),
    ),
    "lw_stage": (
        ("function", "lw_row_function"), ("params", "const void *"), ("shape", "const void *"),
        ("resize", "const lw_resize_params *"), ("input", "uint8_t[2]"),
        *((n, "uint8_t") for n in ("output", "window", "stride", "dilation", "pad_top", "windowed", "is_eager")),
    ),
    "lw_stream_params": (("stages", "const lw_stage *"), ("tensors", "const lw_rows *"), ("count", "uint8_t")),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Constant:
    """An array of C. data: of the C type `ctype`. role: what it is called in the file."""

    role: str
    ctype: str
    data: Array


Value: TypeAlias = int | tuple[int, ...] | Constant


@dataclass(frozen=True)
class Record:
    """A structure of C, its values in the order of `LAYOUTS`. Raises BadInput for one that its type cannot hold."""

    ctype: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        for (name, ctype), value in zip(LAYOUTS[self.ctype], self.values, strict=True):
            if isinstance(value, Constant):
                continue
            info = np.iinfo(ctype.partition("_t")[0])
            for number in value if isinstance(value, tuple) else (value,):
                if not info.min <= number <= info.max:
                    raise BadInput(
                        f"{self.ctype}.{name} is {number}; the C kernels hold {info.min}..{info.max}. Make the network "
                        "smaller there."
                    )


def record(ctype: str, **values: Value) -> Record:
    """By the names of the fields."""
    if set(values) != {name for name, _ in LAYOUTS[ctype]}:
        raise KeyError(f"{ctype} has other fields than {sorted(values)}")
    return Record(ctype, tuple(values[name] for name, _ in LAYOUTS[ctype]))


def size_of(ctype: str) -> int:
    """Bytes of a structure where pointers have 4 and every type is aligned to its size."""
    at, widest = 0, 1
    for _, kind in LAYOUTS[ctype]:
        plain, _, length = kind.partition("[")
        width = 4 if kind.endswith(("*", "function")) else np.dtype(plain.removesuffix("_t")).itemsize
        at = -(-at // width) * width + width * (int(length[:-1]) if length else 1)
        widest = max(widest, width)
    return -(-at // widest) * widest
