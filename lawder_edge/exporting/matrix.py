"""How artifacts, PyTorch and the integer reference agree, from what each gave on the same images. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TypeAlias

import numpy as np

from lawder_edge.bundle.certificate import INT8_LIMITS, ImageAgreement, MeanAndWorst
from lawder_edge.bundle.manifest import OutputKind
from lawder_edge.bundle.processing import Float, Labels
from lawder_edge.evaluation.evaluate import EvalPair
from lawder_edge.exporting.judge import agree, mean_and_worst
from lawder_edge.intervals import Interval, bootstrap_mean

# Of Dice against the truth between any two runtimes of one int8 network.
LARGEST_DICE_DIFFERENCE = 0.003
PYTORCH, REFERENCE = "pytorch", "integer reference"


@dataclass(frozen=True)
class Network:
    """What a bundle was exported from. weights: their sha256, which alone tells it together with the threshold."""

    model: str = field(compare=False)
    weights: str
    threshold: float

    def __str__(self) -> str:
        return f"{self.model} {self.weights[:8]} at {self.threshold:g}"


# What PyTorch has to compute for a bundle: precision, (h, w) and network.
Computes: TypeAlias = tuple[str, tuple[int, int], Network]


@dataclass(frozen=True)
class Outputs:
    """What one source gave. classes: as of a runner. labels: (H, W) uint8 an image, at its own size. raw: (1, K, h, w)
    an image, of `kind`. hostile: classes (h, w) at the network's size of each hostile frame.
    """

    name: str
    precision: str
    network: Network
    state: str
    kind: OutputKind
    classes: int
    labels: tuple[Labels, ...]
    raw: tuple[Float, ...]
    hostile: tuple[Labels, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of the network's input."""
        height, width = self.hostile[0].shape
        return height, width

    @property
    def computes(self) -> Computes:
        """What PyTorch has to compute to be compared with it."""
        return self.precision, self.size, self.network


@dataclass(frozen=True)
class Row:
    """One source against PyTorch with the same weights, at the same precision.

    state: of the bundle's certificate, or `reference`; `unavailable` or `failed`, or `no-reference` where PyTorch gave
    nothing to compare with, the reason then in `reason`. A rejected one stays `rejected` without PyTorch too.
    dice: against the truth, which needs no PyTorch; drop: PyTorch's less its own; surface_dice: at 2 px; largest:
    difference of logits, None where they are not given; hostile: least share of equal pixels on the hostile frames.
    network: as `Network` is told, "" where a bundle does not open.
    """

    name: str
    precision: str
    state: str
    reason: str = ""
    dice: Interval | None = None
    drop: Interval | None = None
    mask_dice: MeanAndWorst | None = None
    surface_dice: MeanAndWorst | None = None
    largest: float | None = None
    hostile: float | None = None
    network: str = ""


@dataclass(frozen=True)
class Pairing:
    """Two int8 runtimes of one network. mask_dice: between their masks. dice_difference: of their mean Dice against
    the truth. network: as in `Row`.
    """

    first: str
    second: str
    mask_dice: MeanAndWorst
    dice_difference: float
    same_pixels: float
    network: str

    @property
    def holds(self) -> bool:
        """Whether both draw the same masks, by the limits of an int8 certificate."""
        return (
            self.mask_dice.mean >= INT8_LIMITS.mask_dice_mean
            and self.mask_dice.worst >= (INT8_LIMITS.mask_dice_worst or 0.0)
            and abs(self.dice_difference) <= LARGEST_DICE_DIFFERENCE
        )


@dataclass(frozen=True)
class Matrix:
    """source: of the images, with counts."""

    source: str
    rows: tuple[Row, ...]
    pairings: tuple[Pairing, ...]


def matrix_of(
    given: Sequence[Outputs],
    truths: Sequence[EvalPair],
    *,
    source: str,
    failed: Sequence[Row] = (),
    missing: Mapping[Computes, str] | None = None,
) -> Matrix:
    """Pure: every source against PyTorch of its network, precision and size, and int8 runtimes of one network and size
    against each other. missing: why PyTorch did not compute what it had to.
    """
    baseline = {outputs.computes: outputs for outputs in given if _is_pytorch(outputs)}
    unknown = "PyTorch gave nothing for this network, precision and size"
    rows = [
        _row(o, baseline[o.computes], truths)
        if o.computes in baseline
        else _row_without_pytorch(o, truths, (missing or {}).get(o.computes, unknown))
        for o in given
    ]
    integers = [o for o in given if o.precision == "int8" and not _is_pytorch(o)]
    pairings = [_pairing(a, b, truths) for a, b in combinations(integers, 2) if a.computes == b.computes]
    return Matrix(source, (*rows, *failed), tuple(pairings))


def _is_pytorch(outputs: Outputs) -> bool:
    return outputs.state == "reference" and outputs.name.split(" ")[0] == PYTORCH


def _agreement(truth: EvalPair, outputs: Outputs, baseline: Outputs, n: int) -> ImageAgreement:
    return agree(
        truth.id, truth.labels, artifact=outputs.labels[n], pytorch=baseline.labels[n], classes=outputs.classes
    )


def _row(outputs: Outputs, baseline: Outputs, truths: Sequence[EvalPair]) -> Row:
    scores = [_agreement(t, outputs, baseline, n) for n, t in enumerate(truths)]
    ids = [s.id for s in scores]
    comparable = outputs.kind == baseline.kind
    largest = (
        max(float(np.abs(a - b).max()) for a, b in zip(outputs.raw, baseline.raw, strict=True)) if comparable else None
    )
    return Row(
        outputs.name,
        outputs.precision,
        outputs.state,
        dice=_interval([s.dice_artifact for s in scores], truths),
        drop=_interval([s.dice_pytorch - s.dice_artifact for s in scores], truths),
        mask_dice=mean_and_worst([s.mask_dice for s in scores], ids),
        surface_dice=mean_and_worst([s.surface_dice for s in scores], ids),
        largest=largest,
        hostile=min(float(np.mean(a == b)) for a, b in zip(outputs.hostile, baseline.hostile, strict=True)),
        network=str(outputs.network),
    )


def _row_without_pytorch(outputs: Outputs, truths: Sequence[EvalPair], reason: str) -> Row:
    own = [_agreement(t, outputs, outputs, n).dice_artifact for n, t in enumerate(truths)]
    return Row(
        outputs.name,
        outputs.precision,
        "rejected" if outputs.state == "rejected" else "no-reference",
        f"no PyTorch to compare with: {reason}",
        dice=_interval(own, truths),
        network=str(outputs.network),
    )


def _interval(values: list[float], truths: Sequence[EvalPair]) -> Interval:
    return bootstrap_mean(np.array(values), groups=[t.group for t in truths], seed=0)


def _pairing(a: Outputs, b: Outputs, truths: Sequence[EvalPair]) -> Pairing:
    # `b` stands in PyTorch's place.
    scores = [_agreement(t, a, b, n) for n, t in enumerate(truths)]
    same = [float(np.mean(x == y)) for x, y in zip(a.labels, b.labels, strict=True)]
    return Pairing(
        a.name,
        b.name,
        mean_and_worst([s.mask_dice for s in scores], [s.id for s in scores]),
        float(np.mean([s.dice_artifact for s in scores]) - np.mean([s.dice_pytorch for s in scores])),
        float(np.mean(same)),
        str(a.network),
    )
