"""A Stable Diffusion of a few channels, saved as the real one is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, PNDMScheduler, UNet2DConditionModel
from synth_samples import TINY

# Two levels on latents of 8 x 8; what a base is given by.
TINY_SD = dataclasses.replace(TINY, denoiser="controlnet", size=64, batch=2, steps=3, learning_rate=1e-3)


def write_base(folder: Path, *, seed: int = 0, **unet: object) -> Path:
    """A pipeline with random weights and the tokens a, b and c. unet: options of its own. Returns: the folder."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(seed)
    options = {
        "in_channels": 4, "out_channels": 4, "layers_per_block": 1, "block_out_channels": (8, 16),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"), "cross_attention_dim": 8, "attention_head_dim": 4,
        "norm_num_groups": 4, **unet,
    }  # fmt: skip
    UNet2DConditionModel(**options).save_pretrained(folder / "unet")
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8), layers_per_block=1, norm_num_groups=2,
    ).save_pretrained(folder / "vae")  # fmt: skip
    # As Stable Diffusion 1.5 ships it, which says nothing of what is predicted.
    PNDMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012).save_pretrained(
        folder / "scheduler"
    )
    words = {word: i for i, word in enumerate(("<|startoftext|>", "<|endoftext|>", "a</w>", "b</w>", "c</w>"))}
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
    tokenizer.save_pretrained(folder / "tokenizer")
    text = CLIPTextConfig(
        vocab_size=5, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=77, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    CLIPTextModel(text).save_pretrained(folder / "text_encoder")
    return folder


def write_controlnet(folder: Path, base: Path, *, seed: int = 5) -> Path:
    """One for the base whose last layers are not zero. Returns: the folder."""
    torch.manual_seed(seed)
    network = ControlNetModel.from_unet(UNet2DConditionModel.from_pretrained(base, subfolder="unet"))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    network.save_pretrained(folder)
    return folder
