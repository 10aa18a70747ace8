"""Stable Diffusion with a ControlNet, at a few channels: it is trained and drawn from as the small denoiser is."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from PIL import Image
from sd_samples import TINY_SD, write_base, write_controlnet

from lawder_edge.cli.main import run
from lawder_edge.data.phantom_files import write_phantom_dataset
from lawder_edge.data.provenance import read_manifest
from lawder_edge.errors import BadCheckpoint
from lawder_edge.synthesis import train as train_module
from lawder_edge.synthesis.arms import ARMS
from lawder_edge.synthesis.base_files import Base, encode_prompt
from lawder_edge.synthesis.config import SynthConfig, SynthProgress
from lawder_edge.synthesis.controlnet import ControlNetDenoiser
from lawder_edge.synthesis.denoiser import mask_planes
from lawder_edge.synthesis.denoisers import create_denoiser
from lawder_edge.synthesis.diffusion import Schedule, expected, kept_share, noised
from lawder_edge.synthesis.generator import Generator, load_generator, start_from
from lawder_edge.synthesis.masks import ProceduralMasks
from lawder_edge.synthesis.sample import sample
from lawder_edge.synthesis.solver import Solver, first_noise
from lawder_edge.synthesis.step import StepLoss, step_loss
from lawder_edge.synthesis.train import train
from lawder_edge.training.batches import TrainData, normalise
from lawder_edge.training.checkpoint import fingerprint, read_tensors

SD = Schedule("scaled_linear", 0.00085, 0.012, floor=0.0)


@pytest.fixture(scope="session")
def config(base: Path) -> SynthConfig:
    return dataclasses.replace(TINY_SD, base=str(base))


@pytest.fixture(scope="session")
def trained(config: SynthConfig, pictures_64: TrainData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator of the law arm."""
    return train(config, pictures_64, out=tmp_path_factory.mktemp("trained"), cpu=True).weights


def _run(folder: Path) -> str:
    return fingerprint(read_tensors(folder / "last.safetensors")[0])


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _parts(denoiser: ControlNetDenoiser) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Copies of what is frozen, and of what is trained."""
    trained = {id(parameter) for parameter in denoiser.parameters()}
    parts = torch.nn.ModuleDict({"unet": denoiser._base.unet, "vae": denoiser._base.vae})
    frozen = {name: p.detach().clone() for name, p in parts.named_parameters() if id(p) not in trained}
    return frozen, {name: p.detach().clone() for name, p in denoiser.named_parameters()}


@pytest.mark.parametrize("arm", ARMS)
def test_each_arm_trains_on_latents_and_its_invariants_hold_where_the_loss_is_taken(
    arm: str, config: SynthConfig, pictures_64: TrainData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(config, arm=arm, mask_dropout=0.3, batch=4)
    models: list[Generator] = []
    before: list[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]] = []
    varied = False

    def watched(model: Generator, weighter: object, drawn: object, *args: object, **more: object) -> StepLoss:
        nonlocal varied
        if not models:
            models.append(model)
            before.append(_parts(model.denoiser))
        loss = step_loss(model, weighter, drawn, *args, **more)  # type: ignore[arg-type]
        w = loss.weights
        assert w.shape == (4, 1, 8, 8)
        assert (w.double().mean((1, 2, 3)) - 1).abs().max() < 1e-5
        assert w.min() >= np.float32(config.lowest_weight)
        assert w.max() <= config.highest_weight
        withheld = ~drawn.shown  # type: ignore[attr-defined]
        assert torch.equal(w[withheld], torch.ones_like(w[withheld]))
        varied = varied or float(w.std()) > 0
        return loss

    monkeypatch.setattr(train_module, "step_loss", watched)
    result = train(config, pictures_64, out=tmp_path, cpu=True)
    assert result.step == 3
    assert varied == (arm != "uniform")
    frozen, moved = _parts(models[0].denoiser)
    assert {name.split(".")[1] for name in frozen if name.startswith("unet")} == {
        "conv_in", "down_blocks", "mid_block", "time_embedding",
    }  # fmt: skip
    assert all(torch.equal(frozen[name], value) for name, value in before[0][0].items())
    still = {name for name, value in before[0][1].items() if torch.equal(moved[name], value)}
    # The zero layers let nothing through to what lies before them at the first step, and all of it later.
    assert not still


def test_a_run_that_is_killed_and_resumed_equals_one_that_was_not(
    config: SynthConfig, pictures_64: TrainData, tmp_path: Path
) -> None:
    config = dataclasses.replace(config, checkpoint_every=1, accumulate=2)

    class KilledError(Exception):
        pass

    def kill(p: SynthProgress) -> None:
        if p.step == 2:
            raise KilledError

    whole, part = _folder(tmp_path / "whole"), _folder(tmp_path / "part")
    watched = dataclasses.replace(config, snapshots=(2,), preview_every=2, gradient_checkpointing=True)
    train(watched, pictures_64, out=whole, cpu=True)
    with pytest.raises(KilledError):
        train(config, pictures_64, out=part, cpu=True, on_step=kill)
    train(config, pictures_64, out=part, cpu=True, resume=True)
    # Neither previews nor activations that are computed again change a bit.
    assert _run(part) == _run(whole)
    with Image.open(whole / "preview.png") as preview:
        assert preview.size == (6 * 64, 2 * 64)
    with Image.open(whole / "delta-000003.png") as maps:
        assert maps.size == (4 * 64, 64)


def test_the_generator_holds_what_was_trained_and_draws_pictures_with_their_masks(
    trained: Path, config: SynthConfig, tmp_path: Path
) -> None:
    tensors, _ = read_tensors(trained)
    kinds = {name.split(".")[1] for name in tensors if name.startswith("denoiser.")}
    assert kinds == {"controlnet", "decoder", "prompt"}
    assert torch.equal(tensors["denoiser.prompt"], encode_prompt(config.base, ""))
    generator = load_generator(trained)
    masks = ProceduralMasks(generator.mask_shapes.numpy(), size=64)
    for sampler in ("dpm", "ddim"):
        out = tmp_path / sampler
        assert sample(generator, masks, out=out, n=2, solver=Solver(sampler, 2, 3.0), cpu=True).made == 2
        manifest = read_manifest(out)
        assert manifest is not None
        assert manifest.complete
        assert manifest.request.generator == generator.sha256
        for row in manifest.images:
            with Image.open(out / "images" / row.name) as picture, Image.open(out / "masks" / row.name) as mask:
                assert (picture.size, picture.mode, mask.size) == ((64, 64), "RGB", (64, 64))
                assert np.asarray(picture).std() > 0


def test_a_generator_takes_its_own_base_wherever_it_lies_and_no_other(
    trained: Path, config: SynthConfig, pictures_64: TrainData, base: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.symlink_to(base)
    load_generator(trained, base=str(elsewhere))
    other = write_base(tmp_path / "other", seed=1)
    with pytest.raises(BadCheckpoint, match=r"was trained on the base .* sha256 \w{12}; those given have \w{12}"):
        load_generator(trained, base=str(other))
    on_other = dataclasses.replace(config, base=str(other))
    with pytest.raises(BadCheckpoint, match="was trained on the base"):
        start_from(trained, Generator(on_other), on_other)
    with pytest.raises(BadCheckpoint, match=r"a generator of prompt ''; this run has 'a'\. Give --prompt ''"):
        train(dataclasses.replace(config, prompt="a"), pictures_64, out=tmp_path, start=trained, cpu=True)
    with pytest.raises(BadCheckpoint, match="give --init or --controlnet, not both"):
        train(dataclasses.replace(config, controlnet="c/n"), pictures_64, out=tmp_path, start=trained, cpu=True)
    run = _folder(tmp_path / "run")
    train(dataclasses.replace(config, steps=1), pictures_64, out=run, start=trained, cpu=True)
    assert load_generator(run / "generator.safetensors").record.start == load_generator(trained).sha256


def test_the_first_answer_is_that_of_the_base_alone_and_then_the_mask_is_heard(
    config: SynthConfig, base: Path, tmp_path: Path
) -> None:
    """Zero layers at first; a ControlNet that was trained elsewhere is heard at once, by each class."""
    config = dataclasses.replace(config, num_classes=3, prompt="a b")
    x_t, t = first_noise([1], (4, 8, 8)), torch.tensor([500])
    shown = mask_planes(torch.zeros(1, 64, 64), num_classes=3)
    denoiser = create_denoiser(config)
    denoiser.begin(config)
    prompt = encode_prompt(config.base, "a b")
    assert not torch.equal(prompt, encode_prompt(config.base, "a"))
    unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
    with torch.no_grad():
        noise = unet(x_t, t, prompt, return_dict=False)[0]
        a = kept_share(SD)[500]
        alone = (x_t - (1 - a).sqrt() * noise) / a.sqrt()
        torch.testing.assert_close(denoiser(x_t, t, shown).x0, alone)
        each = torch.tensor([1, -1]).view(1, 2, 1, 1)
        assert denoiser(x_t, t, shown).features.shape == (1, 8, 8, 8)
        heard = dataclasses.replace(config, controlnet=str(write_controlnet(tmp_path / "controlnet", base)))
        denoiser.begin(heard)
        answers = [denoiser(x_t, t, planes).x0 for planes in (shown, -shown, 0 * shown, shown * each)]
    for i, answer in enumerate((alone, *answers)):
        assert all(not torch.allclose(answer, other) for other in (alone, *answers)[i + 1 :])


def test_the_decoder_gives_back_what_the_encoder_was_shown(
    config: SynthConfig, pictures_64: TrainData, base: Path
) -> None:
    """To within what the same VAE gives by itself; grey pictures pass through three channels."""
    pictures = normalise(pictures_64.images[:2])
    vae = AutoencoderKL.from_pretrained(base, subfolder="vae")
    with torch.no_grad():
        code = vae.encode(pictures).latent_dist.mean
        back = vae.decode(code).sample
    colour = create_denoiser(config)
    assert colour.shape == (4, 8, 8)
    torch.testing.assert_close(colour.encode(pictures), 0.18215 * code)
    torch.testing.assert_close(colour.decode(colour.encode(pictures)), back, rtol=1e-4, atol=1e-5)
    grey = create_denoiser(dataclasses.replace(config, in_channels=1))
    assert grey.decode(grey.encode(pictures[:, :1])).shape == (2, 1, 64, 64)


def test_copies_share_what_is_frozen_and_not_what_is_trained(config: SynthConfig) -> None:
    denoiser = create_denoiser(config)
    twin = copy.deepcopy(denoiser)
    for part in ("unet", "vae"):
        for (name, own), other in zip(
            getattr(denoiser._base, part).named_parameters(), getattr(twin._base, part).parameters(), strict=True
        ):
            assert (own is other) == (not name.startswith(("up_blocks", "conv_norm_out", "conv_out")) or part == "vae")
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    question = first_noise([1], (4, 8, 8)), torch.tensor([500]), torch.zeros(1, 1, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(denoiser(*question).x0, twin(*question).x0)
        assert twin(*question).features.abs().max() == 0


def test_grey_pictures_of_several_classes_train(config: SynthConfig, pictures_64: TrainData, tmp_path: Path) -> None:
    labels = pictures_64.labels.copy()
    labels[:, :8] = 2
    grey = dataclasses.replace(pictures_64, images=pictures_64.images[..., :1], labels=labels)
    config = dataclasses.replace(config, steps=1, in_channels=1, num_classes=3, lesion_class=2)
    result = train(config, grey, out=tmp_path, cpu=True)
    assert load_generator(result.weights).record.config == config


@pytest.fixture
def _own_precision() -> Iterator[None]:
    """accelerate keeps one precision a process; it is forgotten before and after."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


@pytest.mark.usefixtures("_own_precision")
def test_bfloat16_trains_and_keeps_weights_and_loss_in_float32(
    config: SynthConfig, pictures_64: TrainData, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: set[torch.dtype] = set()

    def watched(model: Generator, weighter: object, drawn: object, *args: object, **more: object) -> StepLoss:
        loss = step_loss(model, weighter, drawn, *args, **more)  # type: ignore[arg-type]
        kinds.update((loss.total.dtype, drawn.x0.dtype))  # type: ignore[attr-defined]
        return loss

    monkeypatch.setattr(train_module, "step_loss", watched)
    result = train(dataclasses.replace(config, mixed_precision="bf16"), pictures_64, out=tmp_path, cpu=True)
    tensors, _ = read_tensors(result.weights)
    assert kinds == {torch.float32}
    assert {value.dtype for value in tensors.values()} == {torch.float32}
    assert fingerprint(tensors) != load_generator(trained).sha256


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_perfect_prediction_gives_the_latent_at_every_time(prediction: str) -> None:
    """Also at the last, where a latent is .07 of what is seen."""
    x0, noise = first_noise([1], (4, 8, 8)), first_noise([2], (4, 8, 8))
    for a in kept_share(SD)[[0, 500, 999]]:
        said = noise if prediction == "epsilon" else a.sqrt() * noise - (1 - a).sqrt() * x0
        found = expected(said, noised(x0, noise, a[None]), a[None], prediction)  # type: ignore[arg-type]
        torch.testing.assert_close(found, x0, rtol=0, atol=1e-4)


def test_at_the_size_of_stable_diffusion_the_trained_part_has_872_million_parameters() -> None:
    """Of shapes alone, on no device: the channels of version 1.5 at 384 px."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768)
        controlnet = ControlNetModel.from_unet(unet, load_weights_from_unet=False)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512), layers_per_block=2,
        )  # fmt: skip
    base = Base(unet, vae, 0.18215, SD, "epsilon", "")
    denoiser = ControlNetDenoiser(base, controlnet, size=384, channels=3, planes=1).to("meta")
    with torch.device("meta"):
        out = denoiser(torch.zeros(1, 4, 48, 48), torch.zeros(1, dtype=torch.int64), torch.zeros(1, 1, 384, 384))
        code = denoiser.encode(torch.zeros(1, 3, 384, 384))
        assert denoiser.decode(code).shape == (1, 3, 384, 384)
    assert (denoiser.shape, code.shape, out.x0.shape) == ((4, 48, 48), (1, 4, 48, 48), (1, 4, 48, 48))
    assert out.features.shape == (1, denoiser.features, 48, 48)
    assert sum(p.numel() for p in denoiser.parameters()) == 872_087_124


def test_the_commands_take_a_base(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_phantom_dataset(tmp_path / "phantom", n=4, size=(64, 64))
    out = tmp_path / "run"
    words = ["--size", "64", "--batch", "2", "--steps", "1", "--preview-every", "0", "--cpu", "--threads", "1"]
    train_words = ["synth", "train", "--data", str(tmp_path / "phantom"), "--out", str(out), *words]
    assert run([*train_words, "--denoiser", "controlnet", "--base", str(base), "--prompt", "a"]) == 0
    drawn = ["synth", "sample", "--model", str(out / "generator.safetensors"), "-n", "1", "--steps", "1", "--cpu"]
    moved = base.rename(tmp_path / "moved")
    try:
        assert run([*drawn, "--out", str(tmp_path / "fakes")]) == 2
        assert "there is no such folder" in capsys.readouterr().err
        assert run([*drawn, "--out", str(tmp_path / "fakes"), "--base", str(moved)]) == 0
    finally:
        moved.rename(base)
    assert len(list((tmp_path / "fakes" / "images").iterdir())) == 1


def test_an_earlier_run_stays_where_a_new_one_fails_before_its_first_save(base: Path, tmp_path: Path) -> None:
    write_phantom_dataset(tmp_path / "phantom", n=4, size=(64, 64))
    out = tmp_path / "run"
    words = ["--size", "64", "--batch", "2", "--steps", "1", "--preview-every", "0", "--cpu", "--threads", "1"]
    command = ["synth", "train", "--data", str(tmp_path / "phantom"), "--out", str(out), *words]
    assert run([*command, "--snapshots", "0"]) == 0
    before = {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()}
    assert {"last.safetensors", "generator.safetensors", "step-000000.safetensors", "figure8.png"} <= before.keys()
    other = [*command, "--overwrite", "--denoiser", "controlnet", "--base", str(base)]
    # Found out as the network is made, after all that is checked beforehand.
    assert run([*other, "--prompt", "a " * 100]) == 2
    assert {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()} == before
    assert run([*other, "--prompt", "a"]) == 0
    assert not (out / "step-000000.safetensors").exists()
