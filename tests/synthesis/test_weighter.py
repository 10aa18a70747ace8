"""LAW's learned part."""

from __future__ import annotations

import pytest
import torch

from lawder_edge.synthesis.weighter import (
    ERROR_BINS,
    Weighter,
    error_by_bin,
    local_error,
    time_bin,
    weighter_loss,
)


def _weighter(*, started: bool = False) -> Weighter:
    torch.manual_seed(0)
    weighter = Weighter(features=6, planes=1, patch=4)
    if started:
        torch.nn.init.normal_(weighter.last.weight)
    return weighter


def test_the_map_is_zero_before_the_first_step() -> None:
    s = _weighter()(torch.randn(2, 6, 8, 8), torch.tensor([0.1, 0.9]), torch.randn(2, 1, 32, 32))
    assert s.shape == (2, 1, 32, 32)
    assert torch.equal(s, torch.zeros_like(s))


def test_a_map_of_coarse_places_reads_every_pixel_of_the_mask() -> None:
    torch.manual_seed(0)
    weighter = Weighter(features=6, planes=1, patch=8, cell=8)
    torch.nn.init.normal_(weighter.last.weight)
    features, t, planes = torch.randn(1, 6, 4, 4), torch.tensor([0.5]), torch.ones(1, 1, 32, 32)
    s = weighter(features, t, planes)
    assert s.shape == (1, 1, 4, 4)
    planes[..., 13, 13] = -1
    assert not torch.allclose(weighter(features, t, planes), s)


def test_the_map_reads_features_time_and_mask() -> None:
    weighter = _weighter(started=True)
    features, t, planes = torch.randn(1, 6, 8, 8), torch.tensor([0.5]), torch.ones(1, 1, 32, 32)
    s = weighter(features, t, planes)
    for changed in ((features + 1, t, planes), (features, t + 0.3, planes), (features, t, -planes)):
        assert not torch.allclose(weighter(*changed), s)


def test_a_map_that_goes_astray_stays_where_its_exponential_is_finite() -> None:
    weighter = _weighter(started=True)
    s = weighter(torch.randn(1, 6, 8, 8) * 1e6, torch.tensor([0.5]), torch.ones(1, 1, 32, 32))
    assert s.abs().max() <= 8


def test_nothing_is_differentiated_through_the_features() -> None:
    features = torch.randn(1, 6, 8, 8, requires_grad=True)
    s = _weighter(started=True)(features, torch.tensor([0.5]), torch.ones(1, 1, 32, 32))
    s.sum().backward()
    assert features.grad is None


def test_the_loss_is_least_at_the_log_of_the_mean_error_and_not_at_the_last_one() -> None:
    torch.manual_seed(0)
    errors = torch.rand(4000, 1, 1, 1) ** 3
    level = torch.ones(4000, 1, 1, 1)
    s = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([s], max_iter=50)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = weighter_loss(s.expand_as(errors), errors, level)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert float(s.detach()) == pytest.approx(float(errors.mean().log()), abs=1e-3)


def test_the_local_error_is_a_mean_over_channels_and_box_that_the_edge_does_not_dim() -> None:
    x0_hat = torch.zeros(1, 3, 12, 12, requires_grad=True)
    x0 = torch.full((1, 3, 12, 12), 2.0)
    e = local_error(x0_hat, x0)
    assert not e.requires_grad
    torch.testing.assert_close(e, torch.full((1, 1, 12, 12), 4.0))
    x0 = torch.zeros(1, 3, 12, 12)
    x0[0, 0, 6, 6] = 3
    assert float(local_error(x0_hat, x0)[0, 0, 6, 6]) == pytest.approx(9 / 3 / 25)
    assert int((local_error(x0_hat, x0) > 0).sum()) == 25
    assert int((local_error(x0_hat, x0, cell=8) > 0).sum()) == 9


def test_bins_part_the_times_evenly() -> None:
    assert time_bin(torch.arange(1000) / 1000).bincount(minlength=ERROR_BINS).tolist() == [63, 62, 63, 62] * 4


def test_the_level_of_a_time_is_the_mean_of_what_was_seen_there() -> None:
    weighter = _weighter()
    for value in (1.0, 3.0):
        sums, counts = error_by_bin(torch.full((2, 1, 4, 4), value), torch.tensor([0.0, 0.01]))
        assert counts.sum() == 2
        weighter.observe(sums, counts)
    level = weighter.expected_level(torch.tensor([0.03, 0.99])).flatten()
    # The first bin saw 1 and 3; the last nothing, and keeps 1.
    assert level.tolist() == [2.0, 1.0]


def test_levels_are_part_of_the_state_that_is_saved() -> None:
    assert {"level", "seen"} <= _weighter().state_dict().keys()
