"""Noise becomes pictures."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lawder_edge.errors import BadInput
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.denoiser import Denoised, mask_planes
from lawder_edge.synthesis.diffusion import COSINE, TIMES
from lawder_edge.synthesis.solver import SAMPLERS, Solver, first_noise, solve, to_pixels
from lawder_edge.training.batches import normalise


class Certain(nn.Module):
    """Expects the mask as a picture, -.5 where it is withheld, and remembers what it was asked."""

    shape, limit, schedule, features, patch, base_sha256 = (3, 8, 8), 1.0, COSINE, 1, 4, ""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[int] = []
        self.batches: list[int] = []

    def forward(self, x_t: Tensor, t: Tensor, planes: Tensor) -> Denoised:
        self.times.append(int(t[0]))
        self.batches.append(len(x_t))
        withheld = (planes == 0).all((1, 2, 3))[:, None, None, None]
        return Denoised(torch.where(withheld, -0.5, 0.5 * planes).expand(-1, 3, -1, -1), x_t[:, :1, ::4, ::4])

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures

    def decode(self, x0: Tensor) -> Tensor:
        return x0

    def begin(self, config: SynthConfig) -> None:
        pass

    def save_memory(self) -> None:
        pass


@pytest.fixture
def planes() -> Tensor:
    labels = torch.zeros(2, 8, 8)
    labels[0, 2:5, 3:6] = 1
    return mask_planes(labels, num_classes=1)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_denoiser_that_is_certain_is_believed(sampler: str, planes: Tensor) -> None:
    x = solve(Certain(), planes, first_noise([1, 2], (3, 8, 8)), Solver(sampler, 10, guidance=1))
    torch.testing.assert_close(x, (0.5 * planes).expand(2, 3, 8, 8), atol=2e-2, rtol=0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_times_trail_from_the_noisiest_and_are_as_many_as_asked_for(sampler: str, planes: Tensor) -> None:
    asked = Certain()
    solve(asked, planes, first_noise([1, 2], (3, 8, 8)), Solver(sampler, 10))
    assert asked.times == list(range(TIMES - 1, 0, -TIMES // 10))


def test_guidance_goes_beyond_the_mask_and_stays_a_picture(planes: Tensor) -> None:
    noise = first_noise([1, 2], (3, 8, 8))
    x = solve(Certain(), planes, noise, Solver(steps=10, guidance=1.5))
    # -.5 + 1.5 (.5 - -.5) = 1 inside; outside both answers are -.5.
    assert x[0, :, 3, 4].tolist() == pytest.approx([1, 1, 1], abs=0.03)
    assert x[0, :, 0, 0].tolist() == pytest.approx([-0.5] * 3, abs=0.03)
    assert solve(Certain(), planes, noise, Solver(steps=10, guidance=9)).abs().max() <= 1


class Latent(Certain):
    """Whose answers have no bound, and pictures are a quarter of them."""

    limit = math.inf

    def decode(self, x0: Tensor) -> Tensor:
        return x0 / 4


def test_a_latent_is_bounded_by_nothing_and_its_picture_by_what_a_picture_is(planes: Tensor) -> None:
    noise = first_noise([1, 2], (3, 8, 8))
    x = solve(Latent(), planes, noise, Solver(steps=10, guidance=3))
    # -.5 + 3 (.5 - -.5) = 2.5 inside, as a picture .625.
    assert x[0, :, 3, 4].tolist() == pytest.approx([0.625] * 3, abs=0.03)
    assert solve(Latent(), planes, noise, Solver(steps=10, guidance=9)).abs().max() == 1


def test_without_guidance_the_denoiser_is_asked_once_a_step_and_with_it_of_both(planes: Tensor) -> None:
    for guidance, batch in ((1.0, 2), (1.5, 4)):
        asked = Certain()
        solve(asked, planes, first_noise([1, 2], (3, 8, 8)), Solver(steps=5, guidance=guidance))
        assert asked.batches == [batch] * 5


def test_a_pictures_noise_depends_on_its_seed_alone() -> None:
    together = first_noise([5, 6], (3, 8, 8))
    assert torch.equal(first_noise([6], (3, 8, 8))[0], together[1])
    assert not torch.equal(together[0], together[1])


def test_pixels_are_the_inverse_of_what_the_networks_take() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).numpy()
    assert (to_pixels(normalise(pixels)) == pixels).all()


@pytest.mark.parametrize(
    ("solver", "told"),
    [
        (Solver("euler"), "unknown sampler 'euler'"),
        (Solver(steps=0), "steps is 0"),
        (Solver(steps=1001), "steps is 1001"),
        (Solver(guidance=float("nan")), "guidance is nan"),
        (Solver(precision="int8"), "unknown precision 'int8'"),
    ],
)
def test_a_solver_that_cannot_be_says_why(solver: Solver, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        solver.check()


@pytest.mark.parametrize(("steps", "instead"), [(67, 50), (600, 500), (3, 2)])
def test_steps_of_ddim_that_do_not_divide_the_times_are_refused(steps: int, instead: int) -> None:
    with pytest.raises(BadInput, match=f"{steps} steps of ddim do not divide 1000; .* such as {instead}"):
        Solver("ddim", steps).check()
    Solver("ddim", instead).check()
    Solver("dpm", steps).check()
