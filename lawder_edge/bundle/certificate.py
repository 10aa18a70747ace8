"""The certificate: proof, for one file's hash, that an artifact draws the masks that PyTorch draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lawder_edge.bundle.codec import decode, encode
from lawder_edge.bundle.manifest import OutputKind, Tool
from lawder_edge.errors import BadInput
from lawder_edge.evaluation.bootstrap import Interval, bootstrap_mean

CERTIFICATE_NAME = "certificate.json"
SCHEMA_VERSION = 1
BOUNDARY_TOLERANCE_PX = 2.0

Status = Literal["certified", "unverified-here", "rejected"]


@dataclass(frozen=True)
class Limits:
    """What an artifact must keep to; None where a limit says nothing at its precision.

    logit_difference: the most that a logit may differ from PyTorch's, at every size tried. mask_dice_mean,
    mask_dice_worst: the least Dice between its masks and PyTorch's, over the images and of the worst one.
    dice_drop_high: the most that the upper end of the interval of the drop in Dice against the truth may be.
    same_pixels: the least share of the network's own pixels that get PyTorch's class, at every size tried.
    """

    logit_difference: float | None
    mask_dice_mean: float
    mask_dice_worst: float | None = None
    dice_drop_high: float | None = None
    same_pixels: float | None = None

    def of(self, kind: OutputKind) -> Limits:
        """The same strictness for an artifact that gives that kind.

        At the steepest point a sigmoid passes a quarter of a logit's difference on, so that probabilities must be four
        times as near. Where no logits are left to compare, pixels are, as many at every size as masks agree in.
        """
        if kind == "logits":
            return self
        largest = self.logit_difference
        return replace(
            self,
            logit_difference=None if largest is None or kind == "mask" else largest / 4,
            same_pixels=LEAST_SAME_PIXELS if self.same_pixels is None else self.same_pixels,
            mask_dice_worst=LEAST_MASK_DICE if self.mask_dice_worst is None else self.mask_dice_worst,
        )


# Of float32 where there are no logits. Logits 1e-4 apart give 2 pixels in 10,000 another class if every tenth lies
# within 0.05 of the threshold; a graph that is wrong at one size, every tenth. Of a polyp of 100 pixels one may differ.
LEAST_SAME_PIXELS, LEAST_MASK_DICE = 0.9995, 0.99

# float32 runtimes reorder sums and nothing else.
FP32_LIMITS = Limits(logit_difference=1e-4, mask_dice_mean=0.999)
# Rounding to 11 bits moves a logit in proportion to the network's own range (0.1 to 0.2 where that is -25 to 7), so
# masks are judged; at sizes without masks, pixels: 99.9 % agree in half precision, a graph wrong at one size has 90 %.
FP16_LIMITS = Limits(
    logit_difference=None, mask_dice_mean=0.99, mask_dice_worst=0.95, dice_drop_high=0.01, same_pixels=0.99
)
# Against PyTorch's own int8 arithmetic, from which runtimes differ by a few steps on some pixels of an edge: of ORDER's
# pixels 98.4 % agree with symmetric and 99.6 % with asymmetric activations.
INT8_LIMITS = Limits(
    logit_difference=None, mask_dice_mean=0.99, mask_dice_worst=0.95, dice_drop_high=0.01, same_pixels=0.97
)


# Of what computes the integer reference itself: every bit.
EXACT_LIMITS = Limits(
    logit_difference=0.0, mask_dice_mean=1.0, mask_dice_worst=1.0, dice_drop_high=0.0, same_pixels=1.0
)


@dataclass(frozen=True)
class LogitDifference:
    """How far an artifact's output is from PyTorch's over all images resized to one input size, in pixels.

    largest: absolute difference of logits, or of probabilities where it gives those; None for masks. batch: images in
    one call. same_pixels: share of pixels that get the same class from both, mean over the images.
    """

    height: int
    width: int
    largest: float | None
    batch: int = 1
    same_pixels: float = 1.0


@dataclass(frozen=True)
class ImageAgreement:
    """One image, all in [0, 1]. dice_*: against the ground truth. mask_dice, surface_dice: artifact against PyTorch.

    With several classes each is the mean over the foreground classes.
    """

    id: str
    dice_artifact: float
    dice_pytorch: float
    mask_dice: float
    surface_dice: float


@dataclass(frozen=True)
class MeanAndWorst:
    """Mean over the images, and the least with the image that it belongs to."""

    mean: float
    worst: float
    worst_id: str


@dataclass(frozen=True)
class Agreement:
    """What was measured. Intervals are 95 % bootstrap intervals, clustered where groups are known.

    dice_drop: PyTorch's Dice less the artifact's, on the same images; positive where the artifact is worse.
    surface_dice: at 2 px, between artifact and PyTorch.
    """

    dice_artifact: Interval
    dice_pytorch: Interval
    dice_drop: Interval
    mask_dice: MeanAndWorst
    surface_dice: MeanAndWorst
    logit_differences: tuple[LogitDifference, ...]


@dataclass(frozen=True)
class Gate:
    """One limit, the value found, and whether it holds."""

    name: str
    rule: Literal["at most", "at least"]
    limit: float
    value: float
    passed: bool


@dataclass(frozen=True)
class Certificate:
    """Verdict on one model file.

    status: `certified`, `unverified-here` (what is missing stands in `reason`) or `rejected`. source: where the images
    came from, with counts. tools: what ran both sides. agreement: None where nothing could be measured.
    """

    schema_version: int
    status: Status
    reason: str
    artifact_sha256: str
    source: str
    tools: tuple[Tool, ...]
    agreement: Agreement | None
    gates: tuple[Gate, ...]
    images: tuple[ImageAgreement, ...]

    def to_json(self) -> str:
        """JSON text, the same for the same certificate."""
        return encode(self)

    @classmethod
    def from_json(cls, text: str | bytes, *, source: str = CERTIFICATE_NAME) -> Certificate:
        """Raises BadBundle naming the key that is missing, unknown, or of another type."""
        return decode(cls, text, source=source)


def unmeasured(
    status: Literal["unverified-here", "rejected"],
    reason: str,
    *,
    artifact_sha256: str,
    source: str,
    tools: tuple[Tool, ...] = (),
) -> Certificate:
    """A certificate without numbers: the runtime is not here, or its output cannot be compared at all."""
    return Certificate(SCHEMA_VERSION, status, reason, artifact_sha256, source, tools, None, (), ())


def agree(
    name: str,
    truth: npt.NDArray[Any],
    *,
    artifact: npt.NDArray[Any],
    pytorch: npt.NDArray[Any],
    classes: int = 1,
) -> ImageAgreement:
    """Score one image.

    truth, artifact, pytorch: (H, W), foreground where not 0; class numbers where `classes`, which counts the
    background, is above 1. Raises BadInput where the shapes differ.
    """
    from lawder_edge.evaluation.metrics import dice, surface_dice

    def each(score: Callable[..., float], a: npt.NDArray[Any], b: npt.NDArray[Any], **options: float) -> float:
        if classes == 1:
            return score(a, b, **options)
        return float(np.mean([score(a == k, b == k, **options) for k in range(1, classes)]))

    return ImageAgreement(
        id=name,
        dice_artifact=each(dice, artifact, truth),
        dice_pytorch=each(dice, pytorch, truth),
        mask_dice=each(dice, artifact, pytorch),
        surface_dice=each(surface_dice, artifact, pytorch, tolerance_px=BOUNDARY_TOLERANCE_PX),
    )


def certify(
    *,
    artifact_sha256: str,
    source: str,
    images: Sequence[ImageAgreement],
    logit_differences: Sequence[LogitDifference],
    limits: Limits,
    kind: OutputKind = "logits",
    groups: Sequence[str | None] | None = None,
    tools: tuple[Tool, ...] = (),
    any_foreground: bool = True,
    against: str = "PyTorch",
    seed: int = 0,
) -> Certificate:
    """Judge an artifact by its masks and logits beside PyTorch's.

    images: what `agree` found, at each image's own size. limits: for logits. kind: what the artifact
    gives. groups: sequence or patient of each image, for the intervals.
    any_foreground: whether a mask of either side holds a pixel. against: what stands in PyTorch's place, told in the
    reason. seed: of the bootstrap.

    Raises BadInput when there is no image or no logit difference, when the lists differ in length, or when something
    was not measured that has a limit.
    """
    if not images or not logit_differences:
        raise BadInput(
            f"a certificate wants images and logit differences; got {len(images)} images and {len(logit_differences)} "
            "differences"
        )
    ids = [image.id for image in images]

    def interval(values: list[float]) -> Interval:
        return bootstrap_mean(np.array(values), groups=groups, seed=seed)

    agreement = Agreement(
        dice_artifact=interval([i.dice_artifact for i in images]),
        dice_pytorch=interval([i.dice_pytorch for i in images]),
        dice_drop=interval([i.dice_pytorch - i.dice_artifact for i in images]),
        mask_dice=mean_and_worst([i.mask_dice for i in images], ids),
        surface_dice=mean_and_worst([i.surface_dice for i in images], ids),
        logit_differences=tuple(logit_differences),
    )
    gates = _gates(agreement, limits.of(kind), "probability" if kind == "probabilities" else "logit")
    failed = [g for g in gates if not g.passed]
    reason = (
        "; ".join(f"{g.name} is {g.value:.3g}, must be {g.rule} {g.limit:g}" for g in failed)
        or f"all {len(gates)} gates hold on {source}"
    )
    if against != "PyTorch":
        reason += f", against {against}"
    if not any_foreground:
        reason += "; no mask holds a single pixel, so that Dice between masks says nothing here"
    return Certificate(
        SCHEMA_VERSION,
        "rejected" if failed else "certified",
        reason,
        artifact_sha256,
        source,
        tools,
        agreement,
        gates,
        tuple(images),
    )


def _gates(agreement: Agreement, limits: Limits, number: str) -> tuple[Gate, ...]:
    found = [
        *(_at_most(f"largest {number} difference {_at(d)}", limits.logit_difference, d.largest)
          for d in agreement.logit_differences),
        *(_at_least(f"share of equal pixels {_at(d)}", limits.same_pixels, d.same_pixels)
          for d in agreement.logit_differences),
        _at_least("mean mask Dice", limits.mask_dice_mean, agreement.mask_dice.mean),
        _at_least("worst mask Dice", limits.mask_dice_worst, agreement.mask_dice.worst),
        _at_most("upper end of the drop in Dice", limits.dice_drop_high, agreement.dice_drop.high),
    ]  # fmt: skip
    return tuple(gate for gate in found if gate is not None)


def _at(d: LogitDifference) -> str:
    return f"at {d.height}x{d.width}" + f" in a batch of {d.batch}" * (d.batch > 1)


def _at_most(name: str, limit: float | None, value: float | None) -> Gate | None:
    if limit is None:
        return None
    if value is None:
        raise BadInput(f"{name} has a limit of {limit:g} and was not measured; wanted a number.")
    return Gate(name, "at most", limit, value, value <= limit)


def _at_least(name: str, limit: float | None, value: float) -> Gate | None:
    return None if limit is None else Gate(name, "at least", limit, value, value >= limit)


def mean_and_worst(values: Sequence[float], ids: Sequence[str]) -> MeanAndWorst:
    """values, ids: of as many images, at least one."""
    worst = int(np.argmin(values))
    return MeanAndWorst(float(np.mean(values)), values[worst], ids[worst])
