"""LAW's delta over training: masks above, the learned map at a few steps below, as in the paper's figure 8.

A map is kept as a grey PNG at the step, since a resumed run no longer has the weights of that step. Shown are masks and
maps, no pictures.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from lawder_edge.errors import BadInput
from lawder_edge.files import encode_png, write_file
from lawder_edge.synthesis.condition import with_hint
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.denoiser import mask_planes
from lawder_edge.synthesis.diffusion import TIMES, kept_share, noised
from lawder_edge.synthesis.generator import Generator
from lawder_edge.synthesis.solver import first_noise
from lawder_edge.synthesis.weighting import DELTA_LIMIT, delta_map, on_grid
from lawder_edge.training.batches import TrainData, normalise

FIGURE_FILE = "figure8.png"
# The paper's; the last step of the run is shown too.
STEPS = (0, 250, 500)
COLUMNS = 4
# Half of the diffusion's times: the picture's outlines are seen and its texture is not.
_TIME = TIMES // 2
_NAME = re.compile(r"delta-(\d{6})\.png")
# Grey levels of a delta of log 3; 128 is 0.
_LEVELS = 127


def delta_name(step: int) -> str:
    """File of the maps at a step."""
    return f"delta-{step:06d}.png"


def delta_files(folder: Path) -> dict[int, Path]:
    """Those in a run's folder, by step."""
    found = {int(match[1]): file for file in folder.iterdir() if (match := _NAME.fullmatch(file.name))}
    return dict(sorted(found.items()))


def keep_deltas(
    generator: Generator, config: SynthConfig, data: TrainData, *, folder: Path, step: int, at_once: int = COLUMNS
) -> None:
    """Write the maps of the present weights for four pictures of the list, the same with the same noise each time.

    The file is (H, 4 W) grey: 128 + 127 delta / log 3, each place of the map as large as the pixels that it stands for.
    generator: with a weighter; left in eval mode. at_once: so many pictures go through it together.
    """
    chosen = _chosen(config, data)
    parts = [_deltas(generator, config, data, chosen[i : i + at_once], first=i) for i in range(0, len(chosen), at_once)]
    grey = np.round(128 + _LEVELS * np.concatenate(parts) / DELTA_LIMIT).astype(np.uint8)
    write_file(folder / delta_name(step), encode_png(np.concatenate(list(grey), 1)))


def _deltas(
    generator: Generator, config: SynthConfig, data: TrainData, chosen: Sequence[int], *, first: int
) -> NDArray[np.float32]:
    """(N, H, W) of the pictures at these places of the list. first: number of the first one's noise."""
    denoiser = generator.denoiser
    device = next(generator.parameters()).device
    labels = torch.from_numpy(np.stack([data.labels[i] for i in chosen])).long()
    pictures = normalise(np.stack([data.images[i] for i in chosen])).to(device)
    x0 = denoiser.encode(pictures)
    noise = first_noise(range(first, first + len(chosen)), denoiser.shape).to(device)
    kept = kept_share(denoiser.schedule).to(device)
    t = torch.full((len(chosen),), _TIME, device=device)
    planes = with_hint(mask_planes(labels, num_classes=config.num_classes).to(device), config, pictures, first=first)
    with torch.no_grad():
        s = generator.eval()(noised(x0, noise, kept[t]), t, planes).s
    if s is None:
        raise ValueError(f"the {config.arm} arm has no delta")
    lesion = on_grid((labels >= config.lesion_class)[:, None], s.shape[2:]).to(device)
    delta_of_places = delta_map(config.arm, s, lesion)  # type: ignore[arg-type]  # checked by the config
    delta: NDArray[np.float32] = F.interpolate(delta_of_places, size=labels.shape[1:])[:, 0].cpu().numpy()
    return delta


def draw_figure(config: SynthConfig, data: TrainData, *, folder: Path, last: int) -> bytes:
    """PNG bytes: a row of masks, and a row of the maps that `folder` holds of each of `STEPS` and of `last`.

    Raises: BadInput for a file of maps that is damaged.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    there = delta_files(folder)
    steps = [step for step in sorted({*STEPS, last}) if step in there]
    masks = [data.labels[i] >= config.lesion_class for i in _chosen(config, data)]
    figure = Figure(figsize=(1.6 * len(masks) + 1.2, 1.6 * (len(steps) + 1)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(steps) + 1, len(masks), squeeze=False)
    for axis, mask in zip(axes[0], masks, strict=True):
        axis.imshow(mask, cmap="gray", vmin=0, vmax=1)
    axes[0][0].set_ylabel("mask")
    shown = None
    for row, step in zip(axes[1:], steps, strict=True):
        row[0].set_ylabel(f"step {step}")
        for axis, mask, delta in zip(row, masks, _read(there[step], len(masks)), strict=True):
            shown = axis.imshow(delta, cmap="RdBu_r", vmin=-DELTA_LIMIT, vmax=DELTA_LIMIT)
            axis.contour(mask, levels=[0.5], colors="black", linewidths=0.6)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    if shown is not None:
        figure.colorbar(shown, ax=axes[1:], label="delta")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": ""})
    return buffer.getvalue()


def _chosen(config: SynthConfig, data: TrainData) -> list[int]:
    """Places of pictures with lesion and background, evenly spread over the list."""
    lesions = [labels >= config.lesion_class for labels in data.labels]
    there = [i for i, lesion in enumerate(lesions) if lesion.any() and not lesion.all()]
    there = there or [i for i, lesion in enumerate(lesions) if lesion.any()]
    return there[:: max(1, len(there) // COLUMNS)][:COLUMNS]


def _read(path: Path, columns: int) -> list[NDArray[np.float32]]:
    import cv2

    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise BadInput(f"{path}: not a readable PNG. Remove it; the generator is saved, and --resume draws the figure.")
    return list(np.split((grey.astype(np.float32) - 128) * (DELTA_LIMIT / _LEVELS), columns, axis=1))
