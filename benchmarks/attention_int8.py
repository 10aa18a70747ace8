"""What int8 costs each reading of ORDER's attention, before any of them is trained for long.

Trains ORDER briefly with softmax and with sigmoid attention at two token counts (exp, divided after the product, is the
same function as softmax in float and takes its weights), then quantises nothing but the attention map, at the scale
1/256 and zero point -128 that TFLite prescribes for softmax and sigmoid, and compares masks with the float network's on
the validation part. Prints a Markdown table.

    python benchmarks/attention_int8.py --data DIR --splits train_a.txt train_b.txt --out runs/attention_int8
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lawder_edge.data.cache import load_arrays
from lawder_edge.data.datasets import Sample, find_samples, read_split, select
from lawder_edge.data.splits import hold_out
from lawder_edge.models import registry
from lawder_edge.models.attention import BidirectionalSkipAttention, Normaliser
from lawder_edge.models.mk_order import MKOrder
from lawder_edge.training.batches import TrainData
from lawder_edge.training.checkpoint import load_into, read_weights
from lawder_edge.training.config import TrainConfig
from lawder_edge.training.loop import predict_probabilities, train

TOKEN_STRIDES = (32, 16)
# What is trained, and the normalisers that its weights then serve.
TRAINED: dict[Normaliser, tuple[Normaliser, ...]] = {"softmax": ("softmax", "exp_divide"), "sigmoid": ("sigmoid",)}


class MapAt256(nn.Module):
    """Round to the grid of scale 1/256, zero point -128: [0, 255/256]."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp(torch.round(x * 256), 0, 255) / 256


def silenced(model: MKOrder) -> MKOrder:
    """A copy whose adapters write nothing: what the network is without its attention."""
    quiet = copy.deepcopy(model)
    for module in quiet.modules():
        if isinstance(module, BidirectionalSkipAttention):
            nn.init.zeros_(module.out_decoder.weight)
            nn.init.zeros_(module.out_skip.weight)
    return quiet


def mask_dice(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Dice per image between two (N, H, W) boolean stacks; two empty masks agree."""
    total = a.sum((1, 2)) + b.sum((1, 2))
    return np.where(total > 0, 2 * (a & b).sum((1, 2)) / np.maximum(total, 1), 1.0)


def masks(model: MKOrder, images: np.ndarray, attention_map: nn.Module) -> np.ndarray:
    for adapter in model.adapters.values():
        adapter.attention_map = attention_map
    return predict_probabilities(model, images)[:, 0].numpy() > 0.5


def arrays(samples: Sequence[Sample], cache: Path) -> TrainData:
    loaded = load_arrays(samples, size=(256, 256), channels=3, num_classes=1, cache_dir=cache)
    names = sorted({s.dataset for s in samples})
    domain = np.array([names.index(s.dataset) for s in samples])
    return TrainData(loaded.images, loaded.labels, loaded.ids, domain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--splits", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--schedule", default="128x6,256x2")
    parser.add_argument("--only", nargs="*", help="NORMALISER:STRIDE pairs; all when left out")
    args = parser.parse_args()
    torch.set_num_threads(1)

    ids = [i for path in args.splits for i in read_split(path)]
    fit, held = hold_out(select(find_samples(args.data), ids), fraction=0.1, seed=0)
    data, val = arrays(fit, args.out / "cache"), arrays(held, args.out / "cache")
    for trained, stride in itertools.product(TRAINED, TOKEN_STRIDES):
        if args.only and f"{trained}:{stride}" not in args.only:
            continue
        folder = args.out / f"{trained}_{stride}"
        folder.mkdir(parents=True, exist_ok=True)
        registry.MODELS["trial"] = registry.ModelRecord("trial", builder(trained, stride), 0, "", "")
        config = TrainConfig(model="trial", schedule=args.schedule, warmup_steps=100, ema_decay=0.99)
        result = train(config, data, val=val, out=folder, resume=True)
        tensors, _ = read_weights(result.weights)
        for normaliser in TRAINED[trained]:
            model = builder(normaliser, stride)().eval()
            load_into(model, tensors, source=str(result.weights))
            row = measure(model, val.images, np.asarray(val.labels) > 0)
            line = json.dumps({"normaliser": normaliser, "tokens": (256 // stride) ** 2, **row})
            (folder / f"{normaliser}.json").write_text(line)
            print(line, file=sys.stderr, flush=True)
    print_table(args.out)


def builder(normaliser: Normaliser, stride: int) -> Callable[..., MKOrder]:
    return lambda **options: MKOrder(normaliser=normaliser, token_stride=stride, **options)


def measure(model: MKOrder, images: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    plain, coarse = masks(model, images, nn.Identity()), masks(model, images, MapAt256())
    agreement = mask_dice(plain, coarse)
    return {
        "dice_float": float(mask_dice(plain, truth).mean()),
        "dice_without_attention": float(mask_dice(masks(silenced(model), images, nn.Identity()), truth).mean()),
        "dice_drop": float((mask_dice(plain, truth) - mask_dice(coarse, truth)).mean()),
        "mask_dice_mean": float(agreement.mean()),
        "mask_dice_worst": float(agreement.min()),
        "images": len(agreement),
    }


def print_table(out: Path) -> None:
    rows = sorted((json.loads(p.read_text()) for p in out.glob("*/*.json")), key=lambda r: -r["mask_dice_mean"])
    lines = [
        "| normaliser | tokens at 256x256 | Dice float | Dice, attention zeroed | Dice drop | mask Dice mean | worst |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['normaliser']} | {r['tokens']} | {r['dice_float']:.4f} | {r['dice_without_attention']:.4f} | "
        f"{r['dice_drop']:+.4f} | {r['mask_dice_mean']:.4f} | {r['mask_dice_worst']:.4f} |"
        for r in rows
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
