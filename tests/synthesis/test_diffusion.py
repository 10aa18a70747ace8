"""Noise, times and their weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lawder_edge.synthesis.diffusion import TIMES, Schedule, diffusion_loss, draw_times, kept_share, noised, time_weight


def test_the_schedule_falls_from_the_picture_to_noise() -> None:
    a = kept_share()
    assert a.shape == (TIMES,)
    assert a.diff().max() < 0
    assert a[0] > 0.999
    assert a[-1] < 1e-6


def test_noise_keeps_the_variance_of_a_picture_of_variance_one() -> None:
    torch.manual_seed(0)
    x0, noise = torch.randn(3, 1, 200, 200), torch.randn(3, 1, 200, 200)
    x = noised(x0, noise, torch.tensor([0.99, 0.5, 0.01]))
    assert x.var((1, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=0.02)
    assert float((x[2] - noise[2]).abs().mean()) < 0.1


def test_times_weigh_as_their_signal_to_noise_ratio_up_to_five_and_never_nothing() -> None:
    weights = time_weight(torch.tensor([1.0, 5 / 6, 0.5, 0.0]))
    assert weights.tolist() == pytest.approx([5.2, 5.2, 1.2, 0.2], abs=1e-4)


def test_without_a_floor_the_noisy_times_count_the_same_in_the_error_of_the_noise() -> None:
    a = kept_share(Schedule("scaled_linear", 0.00085, 0.012, floor=0.0))
    snr = a / (1 - a)
    # An error in the noise is 1 / SNR of it in x_0.
    in_noise = time_weight(a, 0.0) / snr
    assert in_noise[snr < 5].tolist() == pytest.approx([1.0] * int((snr < 5).sum()), rel=1e-5)
    assert float(time_weight(a, 0.2)[-1] / snr[-1]) == pytest.approx(43.7, abs=0.5)


@given(u=st.floats(0, 1, exclude_max=True), batch=st.integers(1, 64))
def test_the_times_of_a_batch_are_spread_evenly(u: float, batch: int) -> None:
    times = draw_times(u, batch)
    assert times.min() >= 0
    assert times.max() < TIMES
    gaps = torch.cat([times.sort().values, times.min()[None] + TIMES]).diff()
    assert (gaps - TIMES / batch).abs().max() <= 1


def test_the_loss_is_the_mean_of_weighted_squares() -> None:
    torch.manual_seed(0)
    x0_hat, x0, w = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4), torch.rand(2, 1, 4, 4)
    x0_hat.requires_grad_()
    loss = diffusion_loss(x0_hat, x0, weights=w, time_weights=torch.tensor([1.0, 3.0]))
    by_hand = sum(
        weight * (w[b, 0, y, x] * (x0_hat[b, c, y, x] - x0[b, c, y, x]) ** 2) / (2 * 3 * 16)
        for b, weight in enumerate((1, 3)) for c in range(3) for y in range(4) for x in range(4)
    )  # fmt: skip
    torch.testing.assert_close(loss, by_hand)
    loss.backward()
    assert x0_hat.grad is not None
