"""The operators at the edges of a graph, which change the type of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lawder_edge.errors import BadInput
from lawder_edge.graph.fixed_point import multiplier_of, rescale
from lawder_edge.graph.integer_kernels import QMAX, QMIN
from lawder_edge.graph.ir import ArgMax, Array, Cast, Dequantize, GreaterEqual, Op, Quantize, Tensor


def run_edge(op: Op, values: Sequence[Array], inputs: Sequence[Tensor], output: Tensor) -> Array:
    """values: arrays of the tensors `inputs`. Returns: an array of the output's type and shape."""
    x = values[0]
    match op.attributes:
        case Quantize():
            result = _quantize(x, inputs[0], output)
        case Dequantize():
            centred = x.astype(np.float32) - np.float32(inputs[0].zero_point)
            result = np.float32(inputs[0].scale) * centred
        case GreaterEqual():
            result = x >= values[1]
        case ArgMax():
            result = x.argmax(-1)
        case Cast():
            result = x
        case _:
            raise BadInput(f"operator {op.kind!r} has no kernel in the reference. Add one beside the others.")
    return np.asarray(result).astype(output.dtype).reshape(output.shape)


def _quantize(x: Array, given: Tensor, output: Tensor) -> Array:
    """Halves away from zero, as TFLite rounds here. Between integers by its fixed-point product."""
    if given.dtype == "float32":
        # The C++ divides in float32; a half is added where it cannot round up.
        steps = (x / np.float32(output.scale)).astype(np.float64)
        raw = np.sign(steps) * np.floor(np.abs(steps) + 0.5) + output.zero_point
    else:
        raw = rescale(x.astype(np.int64) - given.zero_point, *multiplier_of(given.scale / output.scale))
        raw = raw + output.zero_point
    return np.asarray(np.clip(raw, QMIN, QMAX))
