"""Stable Diffusion and ControlNets from a diffusers folder or the Hugging Face hub: reads disk, and the network for an
id that is not there. Only safetensors are read; nothing is unpickled.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lawder_edge.errors import BadInput, Unavailable, first_line
from lawder_edge.synthesis.diffusion import TIMES, Prediction, Schedule, kept_share
from lawder_edge.training.checkpoint import fingerprint, load_into

# What the folder of a base holds, and the file that tells that a part is there.
_PARTS = {
    "unet": "config.json",
    "vae": "config.json",
    "scheduler": "scheduler_config.json",
    "text_encoder": "config.json",
    "tokenizer": "tokenizer_config.json",
}
_WANTED = (
    "a diffusers folder of Stable Diffusion 1.x or 2.x (unet/, vae/, scheduler/, text_encoder/ and tokenizer/, weights "
    "as safetensors)"
)
_WANTED_CONTROLNET = "the folder of a diffusers ControlNetModel, weights as safetensors"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# Of the UNet, what is unlocked, as in the recipe of ControlNet's authors with `sd_locked=False`.
DECODER = ("up_blocks", "conv_norm_out", "conv_out")
# ControlNets bring the picture of a mask to the latents' size by three strides of two.
CELL = 8
# Of CLIP's text encoder.
PROMPT_TOKENS = 77


@dataclass(frozen=True)
class Base:
    """Stable Diffusion without its text encoder. unet: UNet2DConditionModel; vae: AutoencoderKL; both float32, on the
    CPU. scale: of its latents. prediction: of the UNet. sha256: of all that stays frozen, and of the schedule.
    """

    unet: Any
    vae: Any
    scale: float
    schedule: Schedule
    prediction: Prediction
    sha256: str


def check_base(name: str) -> None:
    """Raises: BadInput for a folder that lacks a part of a base, or a name that is neither folder nor id."""
    folder = Path(name)
    if folder.is_dir():
        missing = [part for part, file in _PARTS.items() if not (folder / part / file).is_file()]
        if missing:
            raise BadInput(
                f"--base {name}: holds no {', '.join(f'{p}/{_PARTS[p]}' for p in missing)}; wanted {_WANTED}."
            )
    elif folder.exists() or not _HUB_ID.fullmatch(name):
        raise BadInput(f"--base {name}: there is no such folder; wanted {_WANTED}, or an id on the hub, owner/name.")


def size_step_px(name: str) -> int:
    """What the side of a picture is a multiple of, so that every level halves evenly; from the configurations alone.

    Raises: BadInput for what is no Stable Diffusion 1.x or 2.x.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel

    check_base(name)
    with _told(name, "unet"):
        unet = UNet2DConditionModel.load_config(name, subfolder="unet")
        channels, text = int(unet.get("in_channels", 4)), unet.get("cross_attention_dim", 1280)
        levels = len(unet.get("block_out_channels", (320, 640, 1280, 1280)))
    with _told(name, "vae"):
        vae = AutoencoderKL.load_config(name, subfolder="vae")
        latents, cell = int(vae.get("latent_channels", 4)), 2 ** (len(vae.get("block_out_channels", (64,))) - 1)
    if unet.get("addition_embed_type") or not isinstance(text, int) or channels != latents or cell != CELL:
        raise BadInput(
            f"--base {name}: its UNet takes {channels} channels and texts of width {text}"
            f"{', and more than a text' if unet.get('addition_embed_type') else ''}; its VAE gives {latents} channels, "
            f"one place for {cell}x{cell} px. Wanted as many channels of both, a place for {CELL}x{CELL} px and a text "
            "alone, as in Stable Diffusion 1.5; SDXL and models for inpainting are none of these."
        )
    return int(cell * 2 ** (levels - 1))


def load_base(name: str) -> Base:
    """Raises: BadInput for what is missing, damaged or no Stable Diffusion 1.x or 2.x."""
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel

    size_step_px(name)
    with _told(name, "unet"):
        unet = UNet2DConditionModel.from_pretrained(name, subfolder="unet", use_safetensors=True).float()
    with _told(name, "vae"):
        vae = AutoencoderKL.from_pretrained(name, subfolder="vae", use_safetensors=True).float()
    with _told(name, "scheduler"):
        said = DDPMScheduler.load_config(name, subfolder="scheduler")
        schedule = Schedule(
            str(said.get("beta_schedule", "linear")), float(said.get("beta_start", 1e-4)),
            float(said.get("beta_end", 0.02)), floor=0.0,
        )  # fmt: skip
    prediction, times = said.get("prediction_type", "epsilon"), said.get("num_train_timesteps", TIMES)
    if prediction not in ("epsilon", "v_prediction") or times != TIMES or said.get("rescale_betas_zero_snr"):
        raise BadInput(
            f"--base {name}: its scheduler says {prediction} at {times} times"
            f"{', down to no signal' if said.get('rescale_betas_zero_snr') else ''}; wanted epsilon or v_prediction at "
            f"{TIMES}, as in Stable Diffusion 1.5."
        )
    scale = float(vae.config.scaling_factor)
    frozen: dict[str, Tensor] = {f"vae.{k}": v for k, v in vae.state_dict().items()}
    frozen |= {f"unet.{k}": v for k, v in unet.state_dict().items() if not k.startswith(DECODER)}
    frozen |= {f"times.{prediction}": kept_share(schedule), "scale": torch.tensor(scale)}
    return Base(unet, vae, scale, schedule, prediction, fingerprint(frozen))


def load_controlnet(name: str, into: nn.Module) -> None:
    """Give a ControlNetModel the weights of another. Raises: BadInput, BadCheckpoint for one of another shape."""
    from diffusers import ControlNetModel

    if not Path(name).is_dir() and (Path(name).exists() or not _HUB_ID.fullmatch(name)):
        raise BadInput(
            f"--controlnet {name}: there is no such folder; wanted {_WANTED_CONTROLNET}, or an id on the hub, "
            "owner/name."
        )
    with _told(name, "", option="controlnet", wanted=_WANTED_CONTROLNET):
        found = ControlNetModel.from_pretrained(name, use_safetensors=True).float()
    load_into(
        into, found.state_dict(), source=f"--controlnet {name}", advice=f"Give {_WANTED_CONTROLNET}, of the same base."
    )


def require_transformers() -> None:
    """Raises: Unavailable where the extra is not installed."""
    if importlib.util.find_spec("transformers") is None:
        raise Unavailable(
            "the package transformers, which reads the prompt once before training, is not installed. Install it: "
            "pip install 'lawder-edge[synth-sd]'"
        )


def encode_prompt(name: str, prompt: str) -> Tensor:
    """What the base's text encoder makes of the prompt, which may be empty: (1, 77, D) float32.

    Raises: BadInput for a prompt that is too long, or parts that are missing; Unavailable without transformers.
    """
    require_transformers()
    from transformers import CLIPTextModel, CLIPTokenizer
    from transformers.utils import logging

    # It would stand in the bar of the run.
    logging.disable_progress_bar()
    with _told(name, "tokenizer"):
        tokenizer = CLIPTokenizer.from_pretrained(name, subfolder="tokenizer")
    with _told(name, "text_encoder"):
        encoder = CLIPTextModel.from_pretrained(name, subfolder="text_encoder", use_safetensors=True)
    length = len(tokenizer(prompt).input_ids)
    if length > PROMPT_TOKENS:
        raise BadInput(f"--prompt takes {length} tokens; wanted {PROMPT_TOKENS} at most, with those at both ends.")
    ids = tokenizer(prompt, padding="max_length", max_length=PROMPT_TOKENS, return_tensors="pt").input_ids
    with torch.no_grad():
        embedding: Tensor = encoder.float().eval()(ids)[0]
    return embedding


@contextmanager
def _told(name: str, part: str, *, option: str = "base", wanted: str = _WANTED) -> Iterator[None]:
    """Raises: BadInput naming the part that cannot be read."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, TypeError, ValueError, SafetensorError) as error:
        what = f"its {part} cannot be read" if part else "cannot be read"
        place = "" if Path(name).is_dir() else " There is no such folder, and as an id on the hub it gave that."
        raise BadInput(
            f"--{option} {name}: {what} ({first_line(error)}).{place} Wanted {wanted}, or an id on the hub."
        ) from error
