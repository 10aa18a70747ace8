"""What a base must be, and what is said where it is not."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
from sd_samples import TINY_SD, write_base, write_controlnet

from lawder_edge.errors import BadCheckpoint, BadInput, Unavailable
from lawder_edge.synthesis.base_files import encode_prompt, load_base, load_controlnet, size_step_px
from lawder_edge.synthesis.denoisers import check_denoiser, create_denoiser


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


def _changed(part: str, **values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = next((folder / part).glob("*config.json"))
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return change


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: shutil.rmtree(folder / name)


def _damaged(folder: Path) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (shutil.rmtree, "there is no such folder; wanted a diffusers folder of Stable Diffusion 1.x"),
        (_without("vae"), "holds no vae/config.json; wanted a diffusers folder"),
        (_without("tokenizer"), "holds no tokenizer/tokenizer_config.json"),
        (_changed("unet", in_channels=9), "its UNet takes 9 channels .* its VAE gives 4 channels"),
        (_changed("unet", addition_embed_type="text_time"), "and more than a text"),
        (_changed("vae", block_out_channels=[4, 8]), "one place for 2x2 px. Wanted .* a place for 8x8 px"),
        (_changed("scheduler", prediction_type="sample"), "its scheduler says sample at 1000 times"),
        (_changed("scheduler", num_train_timesteps=50), "its scheduler says epsilon at 50 times"),
        (_damaged, r"its unet cannot be read \("),
        (lambda f: (f / "unet" / "diffusion_pytorch_model.safetensors").unlink(), r"its unet cannot be read \("),
    ],
)
def test_a_base_that_cannot_be_one_says_why(
    change: Callable[[Path], object], told: str, base: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(base, tmp_path / "changed")
    change(folder)
    with pytest.raises(BadInput, match=f"--base .*changed.*{told}"):
        load_base(str(folder))


def test_a_base_says_what_its_latents_are_and_its_hash_is_of_what_stays_frozen(base: Path, tmp_path: Path) -> None:
    found = load_base(str(base))
    assert (found.prediction, found.scale) == ("epsilon", 0.18215)
    assert (found.schedule.betas, found.schedule.first, found.schedule.last) == ("scaled_linear", 0.00085, 0.012)
    assert found.schedule.floor == 0
    folder = shutil.copytree(base, tmp_path / "v")
    _changed("scheduler", prediction_type="v_prediction")(folder)
    other = load_base(str(folder))
    assert other.prediction == "v_prediction"
    assert other.sha256 != found.sha256


def test_an_id_that_the_hub_does_not_give_is_told_as_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput, match=r"--base no/thing: its unet cannot be read .* There is no such folder"):
        load_base("no/thing")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"base": ""}, "--denoiser controlnet needs --base"),
        ({"size": 72}, "size 72: .* wanted a multiple of 16"),
        ({"num_classes": 5}, "num_classes is 5; with --denoiser controlnet wanted 4 at most"),
    ],
)
def test_a_recipe_that_does_not_go_with_the_base_says_why(changes: dict[str, object], told: str, base: Path) -> None:
    config = dataclasses.replace(TINY_SD, **{"base": str(base), **changes})  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=told):
        check_denoiser(config)


def test_without_transformers_the_extra_is_named(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else there(name))
    with pytest.raises(Unavailable, match=r"pip install 'lawder-edge\[synth-sd\]'"):
        check_denoiser(dataclasses.replace(TINY_SD, base=str(base)))


def test_a_prompt_that_is_too_long_is_not_cut(base: Path) -> None:
    with pytest.raises(BadInput, match="--prompt takes 82 tokens; wanted 77 at most"):
        encode_prompt(str(base), "a " * 80)


def test_a_controlnet_of_another_shape_or_none_is_refused(base: Path, tmp_path: Path) -> None:
    controlnet = create_denoiser(dataclasses.replace(TINY_SD, base=str(base))).controlnet
    with pytest.raises(BadInput, match=r"--controlnet .*nowhere: there is no such folder; wanted the folder of a"):
        load_controlnet(str(tmp_path / "nowhere"), controlnet)
    with pytest.raises(BadInput, match=r"--controlnet .*base.*: cannot be read \("):
        load_controlnet(str(base), controlnet)
    other = write_base(tmp_path / "wide", block_out_channels=(8, 8))
    with pytest.raises(BadCheckpoint, match=r"--controlnet .*: these weights are of another model"):
        load_controlnet(str(write_controlnet(tmp_path / "other", other)), controlnet)


def test_a_configuration_that_holds_no_number_where_one_belongs_is_told(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    file = base / "unet" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "in_channels": None}))
    with pytest.raises(BadInput, match="its unet cannot be read"):
        size_step_px(str(base))
