"""The scales of a quantised network: what is trained once and read by every int8 target."""

from __future__ import annotations

from dataclasses import dataclass

from lawder_edge.errors import BadCheckpoint, BadInput
from lawder_edge.graph.integer_kernels import QMAX, QMIN

# A smaller scale means a tensor that is zero throughout, as behind a dead ReLU. It gets one of usual size: with the
# smallest, a convolution's multiplier passes 256, which XNNPACK refuses.
SMALLEST_SCALE, DEAD_SCALE = 2.0**-20, 2.0**-7
# Of an output channel whose weights are all zero.
SMALLEST_WEIGHT_SCALE = 2.0**-20


@dataclass(frozen=True)
class TensorScale:
    """One activation tensor, or several that share a scale: real = scale * (q - zero_point), q int8 in [-128, 127].

    key: the module and operator that produce it, the same at every input size.
    """

    key: str
    scale: float
    zero_point: int


@dataclass(frozen=True)
class Scales:
    """All activation tensors of a network in the order of computation. Weights are symmetric, one scale an output
    channel, largest magnitude at 2^(weight_bits - 1) - 1: they follow from the weights themselves.
    """

    weight_bits: int
    tensors: tuple[TensorScale, ...]

    def __post_init__(self) -> None:
        """Raises BadCheckpoint for values that no quantisation gives."""
        if not 2 <= self.weight_bits <= 8:
            raise BadCheckpoint(f"weights of {self.weight_bits} bits; wanted 2 to 8.")
        for t in self.tensors:
            if not 0 < t.scale < float("inf") or not QMIN <= t.zero_point <= QMAX:
                raise BadCheckpoint(f"{t.key}: scale {t.scale} and zero point {t.zero_point} are no int8 scale.")

    @property
    def weight_max(self) -> int:
        """The largest magnitude of an integer weight."""
        return largest_weight(self.weight_bits)

    def of(self, key: str) -> TensorScale:
        """Raises BadInput where the network has a tensor that the scales do not know."""
        for tensor in self.tensors:
            if tensor.key == key:
                return tensor
        raise BadInput(
            f"there is no scale for {key}: the scales are of another network, or of an older deploy form. Run "
            "`lawder-edge qat` again."
        )


def largest_weight(bits: int) -> int:
    """63 at 7 bits: pairs of u8 x s8 products then fit into the int16 of x86 processors without VNNI."""
    return int(2 ** (bits - 1) - 1)


def affine(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of a range in real numbers, widened so that 0 is exact, as zero padding needs.

    Raises BadInput for a range that is not finite.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / (QMAX - QMIN)
    if not scale < float("inf"):
        raise BadInput(f"a tensor ranges over {low} to {high}: no int8 scale. Check the weights and the images.")
    if scale <= SMALLEST_SCALE:
        scale = DEAD_SCALE
    return scale, max(QMIN, min(QMAX, round(QMIN - low / scale)))
