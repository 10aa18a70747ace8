"""Losses."""

from __future__ import annotations

import pytest
import torch

from lawder_edge.training.losses import LOSSES, bce_dice, near_contour, soft_dice, structure, supervised


def _square(classes: int = 1) -> torch.Tensor:
    labels = torch.zeros(2, 32, 32, dtype=torch.int64)
    labels[:, 8:24, 8:24] = 1
    if classes > 2:
        labels[:, 0:4, 0:4] = 2
    return labels


def _sure(labels: torch.Tensor, classes: int, *, right: bool = True) -> torch.Tensor:
    truth = labels if right else (labels + 1) % max(classes, 2)
    if classes == 1:
        return (truth[:, None].float() - 0.5) * 60
    return torch.nn.functional.one_hot(truth, classes).movedim(-1, 1).float() * 60


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [1, 3])
def test_a_sure_and_right_answer_costs_nothing_and_a_sure_and_wrong_one_much(name: str, classes: int) -> None:
    labels = _square(classes)
    assert float(LOSSES[name](_sure(labels, classes), labels)) == pytest.approx(0, abs=1e-3)
    assert float(LOSSES[name](_sure(labels, classes, right=False), labels)) > 1.5


def test_soft_dice_is_one_minus_the_dice_of_the_probabilities() -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    labels[0, :2] = 1
    logits = torch.zeros(1, 1, 4, 4)  # p = 0.5: overlap 4, total 8 + 8
    assert float(soft_dice(logits, labels)) == pytest.approx(1 - (2 * 4 + 1) / (8 + 8 + 1))


def test_an_empty_mask_with_an_empty_answer_costs_nothing() -> None:
    labels = torch.zeros(1, 16, 16, dtype=torch.int64)
    assert float(bce_dice(torch.full((1, 1, 16, 16), -30.0), labels)) == pytest.approx(0, abs=1e-3)


def _with_an_empty_picture(classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    labels = _square(classes)
    labels[1] = 0
    logits = torch.randn(2, classes, 32, 32, generator=torch.Generator().manual_seed(0))
    logits[1, :, 8:16, 8:16] = 8.0  # claimed falsely where the mask is empty
    return logits.requires_grad_(), labels


@pytest.mark.parametrize("classes", [1, 3])
def test_where_there_is_nothing_to_find_the_overlap_has_no_say(classes: int) -> None:
    logits, labels = _with_an_empty_picture(classes)
    (slope,) = torch.autograd.grad(soft_dice(logits, labels), logits)
    assert float(slope[1].abs().max()) == 0
    assert float(slope[0].abs().max()) > 0
    torch.testing.assert_close(soft_dice(logits, labels), 0.5 * soft_dice(logits[:1], labels[:1]))


def test_a_class_that_is_absent_leaves_the_overlap_of_the_others_as_it_is() -> None:
    labels = _square()  # of three classes the last is nowhere
    logits = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    p, t = torch.softmax(logits, 1)[:, 1], (labels == 1).float()
    own = 1 - (2 * (p * t).sum((1, 2)) + 1) / (p.sum((1, 2)) + t.sum((1, 2)) + 1)
    torch.testing.assert_close(soft_dice(logits, labels), 0.5 * own.mean())


@pytest.mark.parametrize("name", LOSSES)
def test_a_false_region_of_an_empty_picture_is_pulled_down_as_hard_as_cross_entropy_does(name: str) -> None:
    logits, labels = _with_an_empty_picture(1)
    (slope,) = torch.autograd.grad(LOSSES[name](logits, labels), logits)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits[1], torch.zeros(1, 32, 32))
    (wanted,) = torch.autograd.grad(entropy / 2, logits)
    torch.testing.assert_close(slope[1], wanted[1])
    assert bool((slope[1, 0, 8:16, 8:16] > 0.99 / (2 * 32 * 32)).all())


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [1, 3])
def test_the_loss_of_a_batch_is_the_mean_of_its_halves_though_one_of_them_is_empty(name: str, classes: int) -> None:
    logits, labels = _with_an_empty_picture(classes)
    halves = [LOSSES[name](logits[i : i + 1], labels[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(LOSSES[name](logits, labels), (halves[0] + halves[1]) / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(7, 40), (96, 65)])
def test_the_weight_near_a_contour_is_by_the_mean_of_31_x_31_with_zeros_beyond(
    size: tuple[int, int], dtype: torch.dtype
) -> None:
    t = (torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) > 0.7).to(dtype)
    mean = torch.nn.functional.avg_pool2d(t.double(), 31, stride=1, padding=15)
    torch.testing.assert_close(near_contour(t).double(), 1 + 5 * (mean - t).abs(), rtol=0, atol=1e-5)


def test_the_structure_loss_weighs_a_mistake_at_the_contour_more() -> None:
    labels = torch.zeros(1, 64, 64, dtype=torch.int64)
    labels[:, 16:48, 16:48] = 1
    at_contour, far_away = _sure(labels, 1), _sure(labels, 1)
    at_contour[0, 0, 30:34, 48:50] = 30
    far_away[0, 0, 0:4, 0:2] = 30
    assert structure(at_contour, labels) > 1.5 * structure(far_away, labels)


def test_deep_supervision_adds_half_and_a_quarter_of_the_smaller_outputs() -> None:
    labels = _square()
    outputs = tuple(torch.randn(2, 1, s, s) for s in (32, 16, 8))
    small = [labels[:, 1::2, 1::2], labels[:, 2::4, 2::4]]
    wanted = bce_dice(outputs[0], labels) + 0.5 * bce_dice(outputs[1], small[0]) + 0.25 * bce_dice(outputs[2], small[1])
    torch.testing.assert_close(supervised(bce_dice, outputs, labels), wanted)
