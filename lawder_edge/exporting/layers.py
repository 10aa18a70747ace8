"""Where an int8 bundle starts to differ from PyTorch: tensor by tensor, in the order of computation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lawder_edge.bundle.store import Bundle
from lawder_edge.errors import BadInput
from lawder_edge.exporting.verify import Progress, VerifyImages
from lawder_edge.quantization.network import QuantizedNetwork
from lawder_edge.quantization.tensors import ProgramTensors, QuantizedTensor
from lawder_edge.targets.registry import get_target, load_runner
from lawder_edge.targets.watch import Activation, Watcher

# Share of a tensor's elements from which its difference counts as the start of one.
STARTS_AT = 0.001


@dataclass(frozen=True)
class Difference:
    """Of one runtime's integers from PyTorch's. share: of elements that differ, 0 to 1. mean, largest: in steps."""

    share: float
    mean: float
    largest: int


@dataclass(frozen=True)
class Layer:
    """One tensor. moved: how far int8 in PyTorch lies from the unrounded value, mean over elements, in steps.
    differences: one a runtime; None where it does not give this tensor.
    """

    tensor: QuantizedTensor
    moved: float
    differences: tuple[Difference | None, ...]


@dataclass(frozen=True)
class WatchedRuntime:
    """first: index of the first layer of which more than `STARTS_AT` differs, None where there is none."""

    name: str
    first: int | None
    remark: str


@dataclass(frozen=True)
class Layers:
    """layers: in the order of computation. source: of the images."""

    source: str
    images: int
    runtimes: tuple[WatchedRuntime, ...]
    layers: tuple[Layer, ...]


def check_int8(bundle: Bundle) -> None:
    """Raises BadInput for a bundle in floating point."""
    precision = bundle.manifest.precision
    if precision != "int8":
        raise BadInput(
            f"{bundle.path}: a bundle of precision {precision}; --layers is for int8 bundles, whose rounding differs "
            "between runtimes. Floating point is compared at its output: see its certificate, or renew it by verify "
            "without --layers."
        )


def compare_layers(
    bundle: Bundle,
    network: QuantizedNetwork,
    images: VerifyImages,
    *,
    threads: int = 0,
    progress: Progress | None = None,
) -> Layers:
    """network: from which the bundle was exported. progress: as in `verify.measure`.

    Raises BadInput for bundles in floating point, targets that hide their tensors, and no images; BadBundle where the
    file has other tensors than `network`; Unavailable for a runtime that is not here.
    """
    check_int8(bundle)
    # As it is run, so that watching can be seen to change nothing; and it tells of a runtime that is missing.
    runner = load_runner(bundle, threads=threads)
    program = ProgramTensors(network, size=runner.size)
    watchers = watchers_of(bundle, network, program.tensors, size=runner.size, threads=threads)
    tallies = [_Tally() for _ in watchers]
    moved: defaultdict[str, float] = defaultdict(float)
    largest = [0.0] * len(watchers)
    count = 0
    for pair in images.read():
        x = runner.prepare(pair.frame)
        computed, plain = program.compute(x), runner.infer(x)
        for name, steps in computed.moved.items():
            moved[name] += steps
        for i, watcher in enumerate(watchers):
            seen = watcher.read(x)
            tallies[i].add(computed.int8, seen.tensors)
            largest[i] = max(largest[i], float(np.abs(seen.output.astype(np.float64) - plain).max()))
        count += 1
        if progress:
            progress(count, images.count, pair.id)
    if not count:
        raise BadInput(f"{images.source}: none of them can be read, so there is nothing to compare on.")
    layers = tuple(
        Layer(t, moved[t.name] / count, tuple(tally.difference(t.name) for tally in tallies)) for t in program.tensors
    )
    runtimes = tuple(
        WatchedRuntime(w.name, first_difference([layer.differences[i] for layer in layers]), w.remark(largest[i]))
        for i, w in enumerate(watchers)
    )
    return Layers(images.source, count, runtimes, layers)


def watchers_of(
    bundle: Bundle,
    network: QuantizedNetwork,
    tensors: Sequence[QuantizedTensor],
    *,
    size: tuple[int, int],
    threads: int = 0,
) -> tuple[Watcher, ...]:
    """All that can be watched of an int8 bundle. tensors: of `network` at `size` (H, W). Raises as `Target.watch`."""
    wanted = [Activation(t.name, t.scale, t.zero_point) for t in tensors]
    target = get_target(bundle.manifest.target)
    return target.watch(bundle, lambda: network.program(size), wanted, threads=threads)


def first_difference(differences: Sequence[Difference | None]) -> int | None:
    """Index of the first of which more than `STARTS_AT` of the elements differ."""
    found = (i for i, d in enumerate(differences) if d is not None and d.share > STARTS_AT)
    return next(found, None)


class _Tally:
    """Sums over images, by tensor."""

    def __init__(self) -> None:
        # elements, differing, sum of steps, largest
        self._sums: dict[str, tuple[int, int, int, int]] = {}

    def add(self, wanted: Mapping[str, npt.NDArray[np.int8]], got: Mapping[str, npt.NDArray[np.int8]]) -> None:
        for name, value in got.items():
            if name not in wanted or wanted[name].shape != value.shape:
                shape = wanted[name].shape if name in wanted else None
                raise BadInput(
                    f"tensor {name} of {value.shape} is {shape} in PyTorch; wanted the same network in both."
                )
            steps = np.abs(value.astype(np.int16) - wanted[name])
            elements, differing, total, largest = self._sums.get(name, (0, 0, 0, 0))
            self._sums[name] = (
                elements + steps.size,
                differing + int(np.count_nonzero(steps)),
                total + int(steps.sum(dtype=np.int64)),
                max(largest, int(steps.max())),
            )

    def difference(self, name: str) -> Difference | None:
        if name not in self._sums:
            return None
        elements, differing, total, largest = self._sums[name]
        return Difference(differing / elements, total / elements, largest)
