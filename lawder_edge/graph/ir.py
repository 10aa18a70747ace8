"""The graph: tensors and some twenty-five kinds of operators, NHWC, of fixed shapes, in TFLite's meaning of each.

Real numbers of an int8 tensor are scale * (q - zero point). Knows numpy only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

DType: TypeAlias = Literal["float32", "int8", "int32", "uint8", "bool"]
Activation: TypeAlias = Literal["none", "relu", "relu6"]
Padding: TypeAlias = Literal["same", "valid"]
Shape: TypeAlias = tuple[int, ...]
Array: TypeAlias = npt.NDArray[Any]
# (height, width)
Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Quantization:
    """One scale and zero point, or with `axis` as many as the tensor is long along it. Scales are float32 numbers."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None

    @classmethod
    def of(cls, scale: float, zero_point: int = 0) -> Quantization:
        """One of the whole tensor. scale: rounded to float32, as every file format stores it."""
        return cls((float(np.float32(scale)),), (int(zero_point),))

    @classmethod
    def per_channel(cls, scales: npt.ArrayLike, *, axis: int) -> Quantization:
        """Symmetric. scales: (C,)."""
        values = tuple(float(s) for s in np.asarray(scales, np.float32))
        return cls(values, (0,) * len(values), axis)


@dataclass(frozen=True)
class Origin:
    """Which quantised tensor of PyTorch's program holds the same integers.

    node: name of its quantize node. layout: stored axis i is axis layout[i] there.
    """

    node: str
    layout: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value. data: of a constant, an array of `shape` and `dtype`; None for what is computed.

    quantization: of int8, of int32 biases and of uint8 inputs; None for float32, lengths and class numbers. origin: of
    int8 that PyTorch's program quantises too; the first where it does so several times.
    """

    name: str
    shape: Shape
    dtype: DType
    quantization: Quantization | None = None
    data: Array | None = field(default=None, repr=False)
    origin: Origin | None = None

    @property
    def size(self) -> int:
        """How many elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def scale(self) -> float:
        """The one scale of an int8 tensor that is no weight."""
        return self._only().scale[0]

    @property
    def zero_point(self) -> int:
        """As `scale`."""
        return self._only().zero_point[0]

    def _only(self) -> Quantization:
        if self.quantization is None or len(self.quantization.scale) != 1:
            raise ValueError(f"tensor {self.name} has no single scale")
        return self.quantization


@dataclass(frozen=True)
class Conv2D:
    """x (1, H, W, I), weights (O, kh, kw, I), bias (O,) -> (1, h, w, O)."""

    kind: ClassVar[str] = "conv2d"
    padding: Padding = "same"
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    activation: Activation = "none"


@dataclass(frozen=True)
class DepthwiseConv2D:
    """x (1, H, W, C), weights (1, kh, kw, C * multiplier), bias (C * multiplier,) -> (1, h, w, C * multiplier)."""

    kind: ClassVar[str] = "depthwise_conv2d"
    padding: Padding = "same"
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    multiplier: int = 1
    activation: Activation = "none"


@dataclass(frozen=True)
class Add:
    """a + b with numpy's broadcasting."""

    kind: ClassVar[str] = "add"
    activation: Activation = "none"


@dataclass(frozen=True)
class Sub:
    """a - b with numpy's broadcasting."""

    kind: ClassVar[str] = "sub"
    activation: Activation = "none"


@dataclass(frozen=True)
class Mul:
    """a * b with numpy's broadcasting."""

    kind: ClassVar[str] = "mul"
    activation: Activation = "none"


@dataclass(frozen=True)
class Relu:
    """max(x, 0)"""

    kind: ClassVar[str] = "relu"


@dataclass(frozen=True)
class Relu6:
    """min(max(x, 0), 6)"""

    kind: ClassVar[str] = "relu6"


@dataclass(frozen=True)
class Logistic:
    """1 / (1 + exp(-x)); int8 results at 1/256, -128."""

    kind: ClassVar[str] = "logistic"


@dataclass(frozen=True)
class Softmax:
    """Over the last axis; int8 results at 1/256, -128."""

    kind: ClassVar[str] = "softmax"


@dataclass(frozen=True)
class MaxPool2D:
    """Maximum of each window; what is beyond the border is left out."""

    kind: ClassVar[str] = "max_pool2d"
    size: Pair
    stride: Pair
    padding: Padding = "valid"


@dataclass(frozen=True)
class AveragePool2D:
    """Mean of each window; what is beyond the border is left out."""

    kind: ClassVar[str] = "average_pool2d"
    size: Pair
    stride: Pair
    padding: Padding = "valid"


@dataclass(frozen=True)
class Mean:
    """Mean over some axes. The only average that may change the scale."""

    kind: ClassVar[str] = "mean"
    axes: tuple[int, ...]
    keep_dims: bool = True


@dataclass(frozen=True)
class ReduceMax:
    """Maximum over some axes."""

    kind: ClassVar[str] = "reduce_max"
    axes: tuple[int, ...]
    keep_dims: bool = True


@dataclass(frozen=True)
class Concat:
    """Two inputs or more, one after another along an axis."""

    kind: ClassVar[str] = "concat"
    axis: int


@dataclass(frozen=True)
class Reshape:
    """The same values in the same order, in the shape of the output."""

    kind: ClassVar[str] = "reshape"


@dataclass(frozen=True)
class Transpose:
    """Axis i of the output is axis permutation[i] of the input."""

    kind: ClassVar[str] = "transpose"
    permutation: tuple[int, ...]


@dataclass(frozen=True)
class Pad:
    """Zeros around: (before, after) of each axis."""

    kind: ClassVar[str] = "pad"
    amounts: tuple[Pair, ...]


@dataclass(frozen=True)
class ResizeBilinear:
    """To the output's height and width, half-pixel centres unless the corners are aligned."""

    kind: ClassVar[str] = "resize_bilinear"
    align_corners: bool = False


@dataclass(frozen=True)
class ResizeNearest:
    """To the output's height and width: pixel i is floor(i * in / out)."""

    kind: ClassVar[str] = "resize_nearest"


@dataclass(frozen=True)
class BatchMatMul:
    """a (..., M, K), or with `adj_x` (..., K, M), times b (..., K, N), or with `adj_y` (..., N, K) -> (..., M, N)."""

    kind: ClassVar[str] = "batch_matmul"
    adj_x: bool = False
    adj_y: bool = False


@dataclass(frozen=True)
class Quantize:
    """Real numbers, or integers of another scale, to the nearest of the output's scale, saturated."""

    kind: ClassVar[str] = "quantize"


@dataclass(frozen=True)
class Dequantize:
    """Integers to the real numbers that they stand for."""

    kind: ClassVar[str] = "dequantize"


@dataclass(frozen=True)
class GreaterEqual:
    """a >= b with numpy's broadcasting, of float32, as bool."""

    kind: ClassVar[str] = "greater_equal"


@dataclass(frozen=True)
class ArgMax:
    """Where along the last axis, which goes, the largest value of float32 stands, the first of equals, as int32."""

    kind: ClassVar[str] = "arg_max"


@dataclass(frozen=True)
class Cast:
    """The same number in the output's type; true is 1."""

    kind: ClassVar[str] = "cast"


Attributes: TypeAlias = (
    Conv2D | DepthwiseConv2D | Add | Sub | Mul | Relu | Relu6 | Logistic | Softmax | MaxPool2D | AveragePool2D | Mean
    | ReduceMax | Concat | Reshape | Transpose | Pad | ResizeBilinear | ResizeNearest | BatchMatMul
    | Quantize | Dequantize | GreaterEqual | ArgMax | Cast
)  # fmt: skip


@dataclass(frozen=True)
class Op:
    """One operator. inputs, outputs: names of tensors. attributes: what it is and how. source: the module it is of."""

    attributes: Attributes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: str = ""

    @property
    def kind(self) -> str:
        return self.attributes.kind


@dataclass(frozen=True, eq=False)
class Graph:
    """ops: in an order in which they can be computed. inputs, outputs: names of tensors."""

    name: str
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @cached_property
    def _by_name(self) -> Mapping[str, Tensor]:
        return {t.name: t for t in self.tensors}

    def tensor(self, name: str) -> Tensor:
        """Raises KeyError for a name that the graph lacks; `validate` finds those."""
        return self._by_name[name]

    def of(self, names: Sequence[str]) -> tuple[Tensor, ...]:
        """The tensors of an operator's inputs or outputs."""
        return tuple(self._by_name[name] for name in names)

    def users(self, name: str) -> Iterator[Op]:
        """The operators that take a tensor."""
        return (op for op in self.ops if name in op.inputs)
