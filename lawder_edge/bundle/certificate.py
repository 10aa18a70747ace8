"""The certificate: proof, for one file's hash, that an artifact draws the masks that PyTorch draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lawder_edge.bundle.codec import decode, encode
from lawder_edge.bundle.manifest import Tool
from lawder_edge.bundle.processing import Mask
from lawder_edge.errors import BadInput
from lawder_edge.evaluation.bootstrap import Interval

CERTIFICATE_NAME = "certificate.json"
SCHEMA_VERSION = 1
BOUNDARY_TOLERANCE_PX = 2.0

Status = Literal["certified", "unverified-here", "rejected"]


@dataclass(frozen=True)
class Limits:
    """What an artifact must keep to.

    logit_difference: the most that a logit may differ from PyTorch's, at every size tried. mask_dice_mean: the least
    mean Dice between its masks and PyTorch's.
    """

    logit_difference: float
    mask_dice_mean: float


# float32 runtimes reorder sums and nothing else.
FP32_LIMITS = Limits(logit_difference=1e-4, mask_dice_mean=0.999)


@dataclass(frozen=True)
class LogitDifference:
    """Largest absolute logit difference to PyTorch over all images resized to one input size, in pixels."""

    height: int
    width: int
    largest: float


@dataclass(frozen=True)
class ImageAgreement:
    """One image, all in [0, 1]. dice_*: against the ground truth. mask_dice, surface_dice: artifact against PyTorch."""

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


def certify(
    *,
    artifact_sha256: str,
    source: str,
    ids: Sequence[str],
    truths: Sequence[npt.NDArray[Any]],
    artifact_masks: Sequence[Mask],
    pytorch_masks: Sequence[Mask],
    logit_differences: Sequence[LogitDifference],
    limits: Limits,
    groups: Sequence[str | None] | None = None,
    tools: tuple[Tool, ...] = (),
    seed: int = 0,
) -> Certificate:
    """Judge an artifact by its masks and logits beside PyTorch's.

    ids: image names. truths, artifact_masks, pytorch_masks: one (H, W) array an image, at the image's own size,
    foreground where not 0. groups: sequence or patient of each image, for the intervals. seed: of the bootstrap.

    Raises BadInput when there is no image or no logit difference, or when the lists differ in length.
    """
    from lawder_edge.evaluation.bootstrap import bootstrap_mean
    from lawder_edge.evaluation.metrics import dice, surface_dice

    lengths = {len(ids), len(truths), len(artifact_masks), len(pytorch_masks)}
    if lengths == {0} or len(lengths) > 1 or not logit_differences:
        raise BadInput(
            f"a certificate wants images, each with truth and both masks, and logit differences; got "
            f"{len(ids)} ids, {len(truths)} truths, {len(artifact_masks)} and {len(pytorch_masks)} masks, "
            f"{len(logit_differences)} sizes"
        )
    images = tuple(
        ImageAgreement(
            id=name,
            dice_artifact=dice(ours, truth),
            dice_pytorch=dice(theirs, truth),
            mask_dice=dice(ours, theirs),
            surface_dice=surface_dice(ours, theirs, tolerance_px=BOUNDARY_TOLERANCE_PX),
        )
        for name, truth, ours, theirs in zip(ids, truths, artifact_masks, pytorch_masks, strict=True)
    )

    def interval(values: list[float]) -> Interval:
        return bootstrap_mean(np.array(values), groups=groups, seed=seed)

    agreement = Agreement(
        dice_artifact=interval([i.dice_artifact for i in images]),
        dice_pytorch=interval([i.dice_pytorch for i in images]),
        dice_drop=interval([i.dice_pytorch - i.dice_artifact for i in images]),
        mask_dice=_mean_and_worst([i.mask_dice for i in images], ids),
        surface_dice=_mean_and_worst([i.surface_dice for i in images], ids),
        logit_differences=tuple(logit_differences),
    )
    gates = _gates(agreement, limits)
    failed = [g for g in gates if not g.passed]
    reason = (
        "; ".join(f"{g.name} is {g.value:.3g}, must be {g.rule} {g.limit:g}" for g in failed)
        or f"all {len(gates)} gates hold on {source}"
    )
    if not any(mask.any() for mask in (*artifact_masks, *pytorch_masks)):
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
        images,
    )


def _gates(agreement: Agreement, limits: Limits) -> tuple[Gate, ...]:
    logits = (
        Gate(
            f"largest logit difference at {d.height}x{d.width}",
            "at most",
            limits.logit_difference,
            d.largest,
            d.largest <= limits.logit_difference,
        )
        for d in agreement.logit_differences
    )
    mean = agreement.mask_dice.mean
    return (*logits, Gate("mean mask Dice", "at least", limits.mask_dice_mean, mean, mean >= limits.mask_dice_mean))


def _mean_and_worst(values: list[float], ids: Sequence[str]) -> MeanAndWorst:
    worst = int(np.argmin(values))
    return MeanAndWorst(float(np.mean(values)), values[worst], ids[worst])
