"""The certificate's record, and how strict its limits are."""

from __future__ import annotations

import numpy as np
import pytest

from lawder_edge.bundle.certificate import FP16_LIMITS, FP32_LIMITS, INT8_LIMITS, Certificate, Limits, unmeasured
from lawder_edge.bundle.manifest import OutputKind
from lawder_edge.errors import BadBundle

UNMEASURED = unmeasured("unverified-here", "no GPU", artifact_sha256="b" * 64, source="1 frame")


def test_a_certificate_comes_back_from_json_as_it_was() -> None:
    assert Certificate.from_json(UNMEASURED.to_json()) == UNMEASURED


def test_a_status_that_does_not_exist_is_refused() -> None:
    text = UNMEASURED.to_json().replace('"unverified-here"', '"fine"')
    with pytest.raises(BadBundle, match="'status'"):
        Certificate.from_json(text)


@pytest.mark.parametrize("limits", [FP32_LIMITS, FP16_LIMITS, INT8_LIMITS])
@pytest.mark.parametrize("kind", ["probabilities", "mask"])
def test_without_logits_no_limit_is_looser_and_pixels_and_the_worst_mask_are_judged(
    limits: Limits, kind: OutputKind
) -> None:
    found = limits.of(kind)
    assert limits.of("logits") is limits
    assert (found.mask_dice_mean, found.dice_drop_high) == (limits.mask_dice_mean, limits.dice_drop_high)
    assert found.same_pixels == (limits.same_pixels or 0.9995)
    assert found.mask_dice_worst == (limits.mask_dice_worst or 0.99)
    expected = limits.logit_difference / 4 if limits.logit_difference and kind == "probabilities" else None
    assert found.logit_difference == expected


def test_a_quarter_of_a_logits_difference_is_what_reaches_a_probability() -> None:
    logits = np.linspace(-6, 6, 1001)
    moved = [1 / (1 + np.exp(-(logits + step))) for step in (0, 1e-4)]
    assert np.abs(moved[1] - moved[0]).max() == pytest.approx(
        FP32_LIMITS.of("probabilities").logit_difference, rel=1e-3
    )
