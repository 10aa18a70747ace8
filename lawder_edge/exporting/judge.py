"""The verdict of a certificate: how near an artifact's masks and logits are to PyTorch's. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lawder_edge.bundle.certificate import (
    INT8_LIMITS,
    SCHEMA_VERSION,
    Agreement,
    Certificate,
    Gate,
    ImageAgreement,
    Limits,
    LogitDifference,
    MeanAndWorst,
)
from lawder_edge.bundle.manifest import OutputKind
from lawder_edge.errors import BadInput
from lawder_edge.evaluation.metrics import dice, surface_dice
from lawder_edge.intervals import Interval, bootstrap_mean
from lawder_edge.versions import Tool

BOUNDARY_TOLERANCE_PX = 2.0


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


@dataclass(frozen=True)
class Exactly:
    """What an artifact is to compute number by number, and how it agrees with it. name: for people.

    images: on the images of the certificate, in their order, that something else in PyTorch's place.
    """

    name: str
    images: tuple[ImageAgreement, ...]
    logit_differences: tuple[LogitDifference, ...]


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
    exactly: Exactly | None = None,
    seed: int = 0,
) -> Certificate:
    """Judge an artifact by its masks and logits beside PyTorch's.

    images: what `agree` found, at each image's own size. limits: for logits. kind: what the artifact
    gives. groups: sequence or patient of each image, for the intervals.
    any_foreground: whether a mask of either side holds a pixel. exactly: for an artifact that is to compute what
    something else does, how it agrees with that: then the limits are on this, and PyTorch's masks are told beside it.
    seed: of the bootstrap.

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

    def agreement_of(images: Sequence[ImageAgreement], differences: Sequence[LogitDifference]) -> Agreement:
        return Agreement(
            dice_artifact=interval([i.dice_artifact for i in images]),
            dice_pytorch=interval([i.dice_pytorch for i in images]),
            dice_drop=interval([i.dice_pytorch - i.dice_artifact for i in images]),
            mask_dice=mean_and_worst([i.mask_dice for i in images], ids),
            surface_dice=mean_and_worst([i.surface_dice for i in images], ids),
            logit_differences=tuple(differences),
        )

    agreement = agreement_of(images, logit_differences)
    judged = agreement if exactly is None else agreement_of(exactly.images, exactly.logit_differences)
    gates = _gates(judged, limits.of(kind), "probability" if kind == "probabilities" else "logit")
    failed = [g for g in gates if not g.passed]
    reason = (
        "; ".join(f"{g.name} is {g.value:.3g}, must be {g.rule} {g.limit:g}" for g in failed)
        or f"all {len(gates)} gates hold on {source}"
    )
    if exactly is not None:
        mean, worst = agreement.mask_dice.mean, agreement.mask_dice.worst
        reason += f", against {exactly.name}; beside PyTorch mask Dice {mean:.4f}, worst {worst:.4f}"
        least_mean, least_worst = INT8_LIMITS.mask_dice_mean or 0.0, INT8_LIMITS.mask_dice_worst or 0.0
        if mean < least_mean or worst < least_worst:
            reason += (
                f", of which other targets must hold {least_mean:g} and {least_worst:g}: in int8 these weights are not "
                "steady enough at this size"
            )
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
