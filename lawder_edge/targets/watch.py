"""Runtimes of int8 bundles whose quantised tensors can be read while they compute: what those of all targets share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lawder_edge.bundle.processing import Float, Samples
from lawder_edge.bundle.store import Bundle
from lawder_edge.errors import BadBundle

Int8 = npt.NDArray[np.int8]
# Scales are float32 in every file; a relative difference above its rounding is another scale.
_SAME_SCALE = 1e-5


@dataclass(frozen=True)
class Activation:
    """A quantised tensor that a network computes. name: of its integers."""

    name: str
    scale: float
    zero_point: int


@dataclass(frozen=True)
class Watched:
    """Of one image. tensors: by the program's names, in the shapes that PyTorch has them in; those that the runtime
    does not give are left out. output: as `Runner.infer` gives it.
    """

    tensors: Mapping[str, Int8]
    output: Samples


class Watcher(ABC):
    """A runtime that gives its inner tensors. name: for the table."""

    name: str

    @abstractmethod
    def read(self, x: Float) -> Watched:
        """x: (1, C, H, W) float32 in [-1, 1)."""

    @abstractmethod
    def remark(self, largest: float) -> str:
        """What is to be known of it. largest: difference of its outputs from those of the bundle as it is run."""


def check_same(bundle: Bundle, found: Sequence[Activation], wanted: Sequence[Activation]) -> None:
    """Raises BadBundle where a file's quantised tensors are not those of the network."""
    if len(found) != len(wanted):
        raise BadBundle(
            f"{bundle.model_path} has {len(found)} quantised tensors, its network {len(wanted)}. It was written by "
            "another release; export the bundle again."
        )
    for a, b in zip(found, wanted, strict=True):
        if abs(a.scale - b.scale) > _SAME_SCALE * b.scale or a.zero_point != b.zero_point:
            raise BadBundle(
                f"{bundle.model_path}: tensor {a.name} has scale {a.scale:.6g}, zero point {a.zero_point}, and its "
                f"network {b.scale:.6g}, {b.zero_point} for {b.name}. It was written by another release; export the "
                "bundle again."
            )


def as_int8(values: npt.NDArray[np.number]) -> Int8:
    """The integers of a runtime, which may hold them as uint8, 128 higher."""
    return values.astype(np.int8) if values.dtype == np.int8 else (values.astype(np.int16) - 128).astype(np.int8)


def same_or(largest: float) -> str:
    """What is to be said of an output that watching moves by `largest`."""
    return "its output stays the same" if largest == 0 else f"its output changes by up to {largest:.3g}"


def equal_or(largest: float) -> str:
    """What is to be said of an output that lies up to `largest` from another runtime's."""
    return "equal to" if largest == 0 else f"up to {largest:.3g} from"
