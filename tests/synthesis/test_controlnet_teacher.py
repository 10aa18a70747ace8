"""A teacher of Stable Diffusion's latents: its ControlNet is shown the hint beside the mask."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from PIL import Image
from sd_samples import TINY_SD, write_base, write_controlnet

from lawder_edge.errors import BadCheckpoint, BadInput
from lawder_edge.synthesis import train as train_module
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.denoisers import check_denoiser, create_denoiser
from lawder_edge.synthesis.generator import load_generator
from lawder_edge.synthesis.masks import ProceduralMasks
from lawder_edge.synthesis.sample import sample
from lawder_edge.synthesis.solver import Solver, first_noise
from lawder_edge.synthesis.step import StepLoss, step_loss
from lawder_edge.synthesis.train import train
from lawder_edge.training.batches import TrainData
from lawder_edge.training.checkpoint import fingerprint, read_tensors


@pytest.fixture(scope="module")
def student(base: Path) -> SynthConfig:
    return dataclasses.replace(TINY_SD, base=str(base), arm="law")


@pytest.fixture(scope="module")
def teacher(student: SynthConfig) -> SynthConfig:
    return dataclasses.replace(student, condition="lowpass", preview_every=3)


@pytest.fixture(scope="module")
def taught(teacher: SynthConfig, pictures_64: TrainData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher's file."""
    return train(teacher, pictures_64, out=tmp_path_factory.mktemp("teacher"), cpu=True).weights


@pytest.mark.parametrize("channels", [1, 3])
def test_its_controlnet_hears_every_channel_of_the_hint_and_the_mask(channels: int, teacher: SynthConfig) -> None:
    config = dataclasses.replace(teacher, in_channels=channels, num_classes=3)
    denoiser = create_denoiser(config)
    torch.manual_seed(0)
    for parameter in denoiser.controlnet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    planes = torch.zeros(1, 2 + channels, 64, 64)
    x_t, t = first_noise([1], (4, 8, 8)), torch.tensor([500])
    with torch.no_grad():
        silent = denoiser(x_t, t, planes).x0
        for channel in range(2 + channels):
            told = planes.clone()
            told[:, channel] = 1
            assert not torch.allclose(denoiser(x_t, t, told).x0, silent)


def test_a_teacher_trains_draws_previews_and_is_no_generator_to_sample_from(
    taught: Path, teacher: SynthConfig, tmp_path: Path
) -> None:
    loaded = load_generator(taught)
    assert loaded.record.config == teacher
    assert loaded.denoiser.controlnet.config.conditioning_channels == 6
    with Image.open(taught.parent / "preview.png") as preview:
        assert preview.size == (6 * 64, 2 * 64)
    masks = ProceduralMasks(loaded.mask_shapes.numpy(), size=64)
    with pytest.raises(BadInput, match="this generator is a teacher"):
        sample(loaded, masks, out=tmp_path / "out", n=1, solver=Solver(steps=1), cpu=True)


def test_a_student_learns_latents_from_it_and_draws_from_masks_alone(
    taught: Path, student: SynthConfig, pictures_64: TrainData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(read_tensors(taught)[0])
    shown: list[tuple[int, int]] = []

    def watched(model: object, weighter: object, drawn: object, *args: object, **more: object) -> StepLoss:
        own = more["teacher"]
        kept = own.denoiser.state_dict()  # type: ignore[attr-defined]
        first = {name: value.clone() for name, value in kept.items()}
        loss = step_loss(model, weighter, drawn, *args, **more)  # type: ignore[arg-type]
        assert all(torch.equal(first[name], value) for name, value in kept.items())
        hint = more["hint"]
        shown.append((hint.shape[1], drawn.x0.shape[1]))  # type: ignore[attr-defined]
        return loss

    monkeypatch.setattr(train_module, "step_loss", watched)
    out = tmp_path / "student"
    out.mkdir()
    result = train(student, pictures_64, out=out, teacher=taught, cpu=True)
    # A hint of the picture's channels, an x_0 of the latent's.
    assert shown == [(3, 4)] * 3
    assert fingerprint(read_tensors(taught)[0]) == before
    drawn_by = load_generator(result.weights)
    assert drawn_by.record.teacher == load_generator(taught).sha256
    masks = ProceduralMasks(drawn_by.mask_shapes.numpy(), size=64)
    assert sample(drawn_by, masks, out=tmp_path / "out", n=1, solver=Solver(steps=1), cpu=True).made == 1
    monkeypatch.setattr(train_module, "step_loss", step_loss)
    alone = tmp_path / "alone"
    alone.mkdir()
    assert load_generator(train(student, pictures_64, out=alone, cpu=True).weights).sha256 != drawn_by.sha256


def test_a_student_lends_its_teacher_what_is_frozen_and_its_answers_stay_bit_for_bit(
    taught: Path, student: SynthConfig
) -> None:
    own, alone, teacher = create_denoiser(student), load_generator(taught).denoiser, load_generator(taught).denoiser
    own.lend_frozen(teacher)
    unet, vae = own._base.unet, own._base.vae
    assert teacher._base.vae is vae
    shared = {id(parameter) for parameter in (*unet.parameters(), *vae.parameters())}
    trained = {id(parameter) for parameter in own.parameters()}
    theirs = list(teacher._base.unet.parameters())
    assert sum(id(parameter) in shared for parameter in theirs) == len(list(unet.parameters())) - len(
        list(own.decoder.parameters())
    )
    assert not trained & {id(parameter) for parameter in (*theirs, *teacher.parameters())}
    x_t, t, planes = first_noise([1], (4, 8, 8)), torch.tensor([500]), torch.ones(1, 1 + 3, 64, 64)
    with torch.no_grad():
        said = [each(x_t, t, planes).x0 for each in (teacher, alone)]
    assert torch.equal(*said)


def test_a_teacher_on_another_base_is_refused_and_leaves_the_run_that_was_there(
    taught: Path, student: SynthConfig, pictures_64: TrainData, tmp_path: Path
) -> None:
    other = write_base(tmp_path / "other", seed=1)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.safetensors").write_bytes(b"there")
    with pytest.raises(BadCheckpoint, match="was trained on the base"):
        train(
            dataclasses.replace(student, base=str(other)), pictures_64, out=tmp_path / "run", teacher=taught, cpu=True
        )
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == b"there"


def test_a_controlnet_from_elsewhere_does_not_go_with_a_hint(teacher: SynthConfig, base: Path, tmp_path: Path) -> None:
    elsewhere = write_controlnet(tmp_path / "controlnet", base)
    with pytest.raises(BadInput, match=r"trained on pictures of 3 channels, and a teacher .* its own 6"):
        check_denoiser(dataclasses.replace(teacher, controlnet=str(elsewhere)))
