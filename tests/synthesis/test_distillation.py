"""Teachers that are shown a hint of the picture, and students that learn from them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from synth_samples import TINY, phantom_data
from torch import Tensor

from lawder_edge.errors import BadCheckpoint, BadInput
from lawder_edge.synthesis.condition import GRID, NOISE, draw_hint, hint_planes
from lawder_edge.synthesis.config import SynthProgress
from lawder_edge.synthesis.denoiser import Denoised
from lawder_edge.synthesis.diffusion import diffusion_loss, kept_share
from lawder_edge.synthesis.draws import draw
from lawder_edge.synthesis.generator import Generator, GeneratorRecord, load_generator
from lawder_edge.synthesis.masks import ProceduralMasks
from lawder_edge.synthesis.sample import sample
from lawder_edge.synthesis.step import step_loss
from lawder_edge.synthesis.teacher import Teacher, load_teacher
from lawder_edge.synthesis.train import train
from lawder_edge.training.batches import TrainData
from lawder_edge.training.checkpoint import fingerprint, read_tensors

TEACHER = dataclasses.replace(TINY, condition="lowpass", steps=4)
STUDENT = dataclasses.replace(TINY, arm="ratio", steps=4)


@pytest.fixture(scope="module")
def teacher_file(pictures: TrainData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of four steps, in the law arm, with a preview."""
    out = tmp_path_factory.mktemp("teacher")
    own = dataclasses.replace(pictures, ids=tuple(f"taught/{i}" for i in range(6)), groups=("case_7",))
    return train(dataclasses.replace(TEACHER, preview_every=4), own, out=out, cpu=True).weights


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_hint_tells_the_means_of_places_and_not_their_texture() -> None:
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    none = torch.zeros(2, 3, GRID, GRID)
    checks = torch.where(torch.arange(32).view(-1, 1) % 2 == torch.arange(32) % 2, 0.3, -0.3)
    torch.testing.assert_close(hint_planes(x + checks, none), hint_planes(x, none))
    flat = torch.full((1, 3, 32, 32), 0.25)
    torch.testing.assert_close(hint_planes(flat, none[:1]), flat)
    noise = torch.randn(2, 3, GRID, GRID)
    scattered = hint_planes(x, noise) - hint_planes(x, none)
    torch.testing.assert_close(scattered, NOISE * hint_planes(torch.zeros_like(x), noise / NOISE))
    # Left and right, up and down alike: a flipped picture has the flipped hint.
    torch.testing.assert_close(hint_planes(x.flip(2, 3), noise.flip(2, 3)), hint_planes(x, noise).flip(2, 3))


def test_a_hint_depends_on_seed_step_and_place_alone(pictures: TrainData) -> None:
    x = draw(pictures, TINY, step=3, places=range(4)).x0
    whole = draw_hint(x, TINY, step=3, places=range(4))
    assert torch.equal(draw_hint(x[2:], TINY, step=3, places=range(2, 4)), whole[2:])
    for other in (
        draw_hint(x, TINY, step=4, places=range(4)),
        draw_hint(x, dataclasses.replace(TINY, seed=1), step=3, places=range(4)),
    ):
        assert not torch.equal(other, whole)


@pytest.mark.parametrize("weight", [0.25, 0.5, 1.0])
def test_one_target_has_the_gradient_of_the_two_losses(weight: float) -> None:
    rng = torch.Generator().manual_seed(0)
    x0, said, guess = (torch.rand(3, 3, 8, 8, generator=rng, dtype=torch.float64) for _ in range(3))
    w, times = torch.rand(3, 1, 8, 8, generator=rng) + 0.2, torch.rand(3, generator=rng)
    teacher = _saying(said, weight)
    guess.requires_grad_()

    def gradient(*terms: tuple[float, Tensor]) -> Tensor:
        loss = sum(share * diffusion_loss(guess, target, weights=w, time_weights=times) for share, target in terms)
        return torch.autograd.grad(loss, guess)[0]  # type: ignore[arg-type]

    y = teacher.target(x0, x0, torch.zeros(3), x0).double()
    torch.testing.assert_close(gradient((1, y)), gradient((1 - weight, x0), (weight, said)), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_a_calibrated_teacher_leaves_the_best_student_what_it_is_and_its_target_scatters_less(weight: float) -> None:
    """All that can happen at one (x_t, m): 40 pictures of one pixel, 5 hints, with a table of probabilities."""
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.uniform(-1, 1, 40))
    table = torch.from_numpy(rng.dirichlet(np.ones(200)).reshape(5, 40))
    said = (table @ values) / table.sum(1)
    x0 = values.repeat(5).view(-1, 1, 1, 1)
    p = table.reshape(-1)
    taught = _saying(said.repeat_interleave(40).view(-1, 1, 1, 1), weight)
    y = taught.target(x0, x0, torch.zeros(200), x0).double().view(-1)
    mean = (p * x0.view(-1)).sum()
    torch.testing.assert_close((p * y).sum(), mean, rtol=0, atol=1e-6)

    def variance(v: Tensor) -> Tensor:
        return (p * (v - mean).square()).sum()

    within = (p * (x0.view(-1) - said.repeat_interleave(40)).square()).sum()
    told = variance(said.repeat_interleave(40))
    torch.testing.assert_close(variance(y), told + (1 - weight) ** 2 * within, rtol=1e-5, atol=1e-8)
    assert variance(y) < variance(x0.view(-1))
    # Through the loss itself: its slope is zero at the mean, whatever the weight of the teacher.
    guess = mean.expand(200, 1, 1, 1).clone().requires_grad_()
    loss = diffusion_loss(guess, y.view(-1, 1, 1, 1), weights=torch.ones(200, 1, 1, 1), time_weights=200 * p)
    assert abs(float(torch.autograd.grad(loss, guess)[0].sum())) < 1e-6


def test_no_gradient_reaches_the_teacher_and_the_student_is_not_shown_the_hint(
    pictures: TrainData, teacher_file: Path
) -> None:
    torch.manual_seed(0)
    teacher = load_teacher(teacher_file, STUDENT, weight=0.5)
    # Thawed, so that nothing but the step itself keeps gradients out.
    teacher.denoiser.requires_grad_(True)
    model = Generator(STUDENT)
    drawn = draw(pictures, STUDENT, step=0, places=range(4))

    def loss(hint: Tensor) -> Tensor:
        hint.requires_grad_()
        found = step_loss(
            model, None, drawn, STUDENT, kept=kept_share(), sum_of_all=lambda v: v, hint=hint, teacher=teacher
        )
        gradients = torch.autograd.grad(
            found.total, [*teacher.denoiser.parameters(), hint], allow_unused=True, retain_graph=True
        )
        assert all(g is None for g in gradients)
        own = torch.autograd.grad(found.total, list(model.parameters()))
        assert all(g.abs().max() > 0 for g in own)
        return found.total.detach()

    hint = draw_hint(drawn.x0, STUDENT, step=0, places=range(4))
    # The teacher itself reads it: another hint, another target.
    assert loss(hint) != loss(-hint.detach())


def test_a_student_starts_as_it_would_without_a_teacher_and_errors_are_told_against_the_pictures(
    tmp_path: Path, pictures: TrainData, teacher_file: Path
) -> None:
    config = dataclasses.replace(STUDENT, steps=1)
    before = teacher_file.read_bytes()
    alone = train(config, pictures, out=_folder(tmp_path / "alone"), cpu=True)
    taught = train(config, pictures, out=_folder(tmp_path / "taught"), teacher=teacher_file, cpu=True)
    assert (taught.history[0].error, taught.history[0].lesion_error) == (
        alone.history[0].error,
        alone.history[0].lesion_error,
    )
    assert taught.history[0].loss != alone.history[0].loss
    assert load_generator(taught.weights).sha256 != load_generator(alone.weights).sha256
    assert teacher_file.read_bytes() == before


def test_the_file_names_its_teacher_and_the_pictures_that_it_knew(
    tmp_path: Path, pictures: TrainData, teacher_file: Path
) -> None:
    config = dataclasses.replace(STUDENT, steps=1)
    result = train(config, pictures, out=tmp_path, teacher=teacher_file, teacher_weight=0.25, cpu=True)
    record = load_generator(result.weights).record
    assert (record.teacher, record.teacher_weight) == (load_generator(teacher_file).sha256, 0.25)
    assert record.train_ids == (*(f"taught/{i}" for i in range(6)), *pictures.ids)
    assert record.train_groups == ("case_7",)
    assert load_generator(teacher_file).record.teacher == ""


@pytest.mark.parametrize("taught", [True, False], ids=["student", "teacher"])
def test_a_run_that_is_killed_and_resumed_equals_one_that_was_not(
    taught: bool, tmp_path: Path, pictures: TrainData, teacher_file: Path
) -> None:
    config = dataclasses.replace(STUDENT if taught else TEACHER, checkpoint_every=2)
    teacher = teacher_file if taught else None

    class KilledError(Exception):
        pass

    def kill(p: SynthProgress) -> None:
        if p.step == 3:
            raise KilledError

    whole, part = _folder(tmp_path / "whole"), _folder(tmp_path / "part")
    train(config, pictures, out=whole, teacher=teacher, cpu=True)
    with pytest.raises(KilledError):
        train(config, pictures, out=part, teacher=teacher, cpu=True, on_step=kill)
    if taught:
        with pytest.raises(BadCheckpoint, match=r"teacher weight was 0\.5, now 0\.75"):
            train(config, pictures, out=part, teacher=teacher, teacher_weight=0.75, cpu=True, resume=True)
        with pytest.raises(BadCheckpoint, match=r"teacher was '[0-9a-f]+', now None"):
            train(config, pictures, out=part, cpu=True, resume=True)
    train(config, pictures, out=part, teacher=teacher, cpu=True, resume=True)
    prints = [fingerprint(read_tensors(f / "last.safetensors")[0]) for f in (whole, part)]
    assert prints[0] == prints[1]


def test_a_teacher_has_its_preview_and_figure_and_draws_nothing_for_masks_alone(
    teacher_file: Path, tmp_path: Path
) -> None:
    assert {"preview.png", "figure8.png"} <= {file.name for file in teacher_file.parent.iterdir()}
    loaded = load_generator(teacher_file)
    masks = ProceduralMasks(loaded.mask_shapes.numpy(), size=32)
    with pytest.raises(BadInput, match=r"is a teacher .*Train a student with --teacher"):
        sample(loaded, masks, out=tmp_path / "out", n=1, cpu=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "weight", "told"),
    [
        ({}, 0.0, "teacher weight is 0.0"),
        ({}, 1.5, "teacher weight is 1.5"),
        ({"condition": "lowpass"}, 0.5, "Leave --teacher out"),
        ({"size": 64}, 0.5, "a teacher of size 32; this run has 64. Give --size 32"),
        ({"num_classes": 3}, 0.5, "a teacher of num_classes 1; this run has 3. Give --num-classes 1"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(
    changes: dict[str, object], weight: float, told: str, teacher_file: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(STUDENT, **changes)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=told):
        train(
            config,
            phantom_data(4, side=config.size),
            out=tmp_path,
            teacher=teacher_file,
            teacher_weight=weight,
            cpu=True,
        )
    assert list(tmp_path.iterdir()) == []


def test_a_generator_that_knows_masks_alone_is_no_teacher(tmp_path: Path, pictures: TrainData) -> None:
    plain = train(dataclasses.replace(STUDENT, steps=1), pictures, out=_folder(tmp_path / "plain"), cpu=True)
    with pytest.raises(BadCheckpoint, match=r"knows no more than the student\. Train a teacher: .*--condition lowpass"):
        train(STUDENT, pictures, out=_folder(tmp_path / "run"), teacher=plain.weights, cpu=True)


def _saying(said: Tensor, weight: float) -> Teacher:
    """A teacher that says `said`, whatever it is shown."""
    return Teacher(lambda x_t, t, planes: Denoised(said, said), GeneratorRecord(TEACHER, 0), "ab" * 32, weight)
