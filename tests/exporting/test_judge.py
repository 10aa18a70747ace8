"""How an artifact is judged by its masks and logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lawder_edge.bundle.certificate import (
    EXACT_LIMITS,
    FP16_LIMITS,
    FP32_LIMITS,
    INT8_LIMITS,
    Certificate,
    Limits,
    LogitDifference,
)
from lawder_edge.errors import BadInput
from lawder_edge.exporting.judge import Exactly, agree, certify
from lawder_edge.versions import Tool


def square(side: int, *, at: int = 4) -> NDArray[np.bool_]:
    mask = np.zeros((64, 64), bool)
    mask[at : at + side, at : at + side] = True
    return mask


def judged(*, artifact_masks: Any = None, pytorch_masks: Any = None, **changes: Any) -> Certificate:
    truths = [square(20), square(30), square(40)]
    masks = zip("abc", truths, artifact_masks or truths, pytorch_masks or truths, strict=True)
    arguments: dict[str, Any] = {
        "artifact_sha256": "a" * 64,
        "source": "3 squares",
        "images": [agree(name, truth, artifact=ours, pytorch=theirs) for name, truth, ours, theirs in masks],
        "logit_differences": [LogitDifference(128, 128, 1e-6), LogitDifference(256, 256, 2e-6)],
        "limits": FP32_LIMITS,
        "tools": (Tool("torch", "2"),),
    }
    return certify(**arguments | changes)


def test_the_same_masks_and_logits_are_certified() -> None:
    certificate = judged()
    assert certificate.status == "certified"
    assert [g.passed for g in certificate.gates] == [True, True, True]
    assert certificate.agreement is not None
    assert certificate.agreement.mask_dice.mean == 1
    assert certificate.agreement.dice_drop.mean == 0
    assert Certificate.from_json(certificate.to_json()) == certificate


def test_one_logit_over_the_limit_rejects_and_names_its_size() -> None:
    differences = [LogitDifference(128, 128, 1e-6), LogitDifference(352, 352, 1.1e-4)]
    certificate = judged(logit_differences=differences)
    assert certificate.status == "rejected"
    assert "352x352 is 0.00011, must be at most 0.0001" in certificate.reason
    assert "128x128" not in certificate.reason


def test_the_limit_itself_passes() -> None:
    assert judged(logit_differences=[LogitDifference(128, 128, 1e-4)]).status == "certified"


def test_a_difference_that_is_no_number_rejects() -> None:
    assert judged(logit_differences=[LogitDifference(128, 128, float("nan"))]).status == "rejected"


def test_masks_that_differ_reject_and_the_worst_is_named() -> None:
    certificate = judged(artifact_masks=[square(20), square(24), square(40)])
    agreement = certificate.agreement
    assert certificate.status == "rejected"
    assert "mean mask Dice" in certificate.reason
    assert agreement is not None
    dice = 2 * 24**2 / (24**2 + 30**2)
    assert agreement.mask_dice.worst_id == "b"
    assert agreement.mask_dice.worst == pytest.approx(dice)
    assert agreement.mask_dice.mean == pytest.approx((2 + dice) / 3)
    assert agreement.surface_dice.worst_id == "b"
    assert agreement.surface_dice.worst < 1


def test_the_drop_is_pytorch_less_artifact_with_its_interval() -> None:
    certificate = judged(artifact_masks=[square(20), square(24), square(40)])
    agreement = certificate.agreement
    assert agreement is not None
    drops = [i.dice_pytorch - i.dice_artifact for i in certificate.images]
    assert agreement.dice_drop.mean == pytest.approx(np.mean(drops))
    assert agreement.dice_drop.mean > 0
    assert agreement.dice_drop.low <= agreement.dice_drop.mean <= agreement.dice_drop.high
    assert certificate == judged(artifact_masks=[square(20), square(24), square(40)])


def test_a_boundary_within_two_pixels_agrees() -> None:
    agreement = judged(artifact_masks=[square(20, at=5), square(30, at=5), square(40, at=5)]).agreement
    assert agreement is not None
    assert agreement.surface_dice.worst == 1
    assert agreement.mask_dice.worst < 1


def test_a_verdict_on_empty_masks_says_how_little_it_means() -> None:
    nothing = [square(0)] * 3
    certificate = judged(artifact_masks=nothing, pytorch_masks=nothing, any_foreground=False)
    assert certificate.status == "certified"
    assert "no mask holds a single pixel" in certificate.reason


@pytest.mark.parametrize(
    "changes",
    [{"images": []}, {"logit_differences": []}, {"groups": ["x"]}],
)
def test_lists_that_do_not_belong_together_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        judged(**changes)


def test_two_classes_exchanged_are_no_agreement_although_the_foreground_is_the_same() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[:32, 10:50], labels[32:, 10:50] = 1, 2
    exchanged = np.choose(labels, [0, 2, 1])
    same = agree("a", labels, artifact=labels, pytorch=labels, classes=3)
    other = agree("a", labels, artifact=exchanged, pytorch=labels, classes=3)
    assert (same.mask_dice, same.dice_artifact, same.surface_dice) == (1, 1, 1)
    assert (other.mask_dice, other.dice_artifact, other.dice_pytorch) == (0, 0, 1)


def test_a_difference_in_a_batch_is_named_as_such() -> None:
    certificate = judged(logit_differences=[LogitDifference(128, 128, 0.0), LogitDifference(128, 128, 1.0, 2)])
    assert "128x128 in a batch of 2 is 1" in certificate.reason


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(None, 0.9, mask_dice_worst=0.95), "worst mask Dice is 0.78, must be at least 0.95"),
        (Limits(None, 0.9, dice_drop_high=0.01), "upper end of the drop in Dice is 0.2"),
        (Limits(None, 0.9, same_pixels=0.99), "share of equal pixels at 352x352 is 0.98, must be at least 0.99"),
    ],
)
def test_each_limit_rejects_by_itself_and_the_others_are_not_asked(limits: Limits, said: str) -> None:
    differences = [LogitDifference(256, 256, 9.0), LogitDifference(352, 352, 9.0, same_pixels=0.98)]
    certificate = judged(
        artifact_masks=[square(20), square(24), square(40)], logit_differences=differences, limits=limits
    )
    assert certificate.status == "rejected"
    assert certificate.reason.startswith(said)
    assert ";" not in certificate.reason


@pytest.mark.parametrize("limits", [FP16_LIMITS, INT8_LIMITS])
def test_a_graph_that_is_wrong_at_one_size_alone_is_rejected_at_every_precision(limits: Limits) -> None:
    good, bad = LogitDifference(256, 256, 0.2, same_pixels=0.999), LogitDifference(128, 128, 5.0, same_pixels=0.9)
    assert judged(logit_differences=[good], limits=limits).status == "certified"
    assert "at 128x128" in judged(logit_differences=[good, bad], limits=limits).reason


def test_probabilities_are_named_as_such_and_held_to_their_own_limit() -> None:
    differences = [LogitDifference(128, 128, 2.4e-5), LogitDifference(352, 352, 2.6e-5)]
    certificate = judged(logit_differences=differences, kind="probabilities")
    assert certificate.reason == "largest probability difference at 352x352 is 2.6e-05, must be at most 2.5e-05"


def test_masks_are_judged_without_a_distance() -> None:
    good, bad = LogitDifference(256, 256, None), LogitDifference(128, 128, None, same_pixels=0.999)
    certificate = judged(logit_differences=[good], kind="mask")
    assert certificate.status == "certified"
    assert Certificate.from_json(certificate.to_json()) == certificate
    assert "equal pixels at 128x128" in judged(logit_differences=[good, bad], kind="mask").reason


def test_logits_that_were_not_measured_are_no_gate_that_holds() -> None:
    with pytest.raises(BadInput, match="was not measured"):
        judged(logit_differences=[LogitDifference(256, 256, None)])


def test_an_artifact_that_must_be_exact_is_judged_by_that_and_tells_how_near_pytorch_is() -> None:
    exact, far = LogitDifference(64, 64, 0.0), LogitDifference(64, 64, 3.0, same_pixels=0.9)
    images = tuple(judged().images)
    moved = {"pytorch_masks": [square(20, at=6), square(30), square(40)], "limits": EXACT_LIMITS}

    found = judged(logit_differences=[far], exactly=Exactly("the integers", images, (exact,)), **moved)
    assert found.status == "certified"
    assert found.agreement is not None
    assert found.agreement.mask_dice.worst < 0.95
    assert "against the integers; beside PyTorch mask Dice 0." in found.reason
    assert "must hold 0.99 and 0.95" in found.reason
    wrong = judged(logit_differences=[exact], exactly=Exactly("the integers", images, (far,)), limits=EXACT_LIMITS)
    assert wrong.status == "rejected"
    steady = judged(logit_differences=[exact], exactly=Exactly("the integers", images, (exact,)), limits=EXACT_LIMITS)
    assert "must hold" not in steady.reason
