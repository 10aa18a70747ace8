"""Learning from a larger network: what it said of each training picture, once, and the loss that it adds.

Paper: Knowledge distillation: A good teacher is patient and consistent - https://arxiv.org/abs/2106.05237 (the student
sees the same view of a picture as the teacher's word is of, over a long schedule). Colour is changed for the student
alone, so that it learns the teacher's mask under other hospitals' light.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.errors import BadInput
from lawder_edge.files import write_file
from lawder_edge.training.batches import Batch, TrainData, at_size, normalise
from lawder_edge.training.config import TrainConfig
from lawder_edge.training.folder import CACHE_FOLDER
from lawder_edge.training.losses import near_contour, soft_dice
from lawder_edge.training.prepare import PreparedRun
from lawder_edge.training.processes import first_alone, join_processes
from lawder_edge.training.record import WeightsRecord
from lawder_edge.training.trainee import FloatTrainee, TrainedNetwork

FLIPS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))


@torch.no_grad()
def teach(
    model: nn.Module,
    images: NDArray[np.uint8],
    *,
    batch: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.uint8]:
    """What an eval-mode binary network says, the mean over the four flips.

    images: (N, H, W, C) uint8 at the size that it works at. Returns: (N, H, W) uint8 probabilities, 255 for 1.
    """
    device = next(model.parameters()).device
    said = np.empty(images.shape[:3], np.uint8)
    for start in range(0, len(images), batch):
        x = normalise(images[start : start + batch]).to(device)
        total = torch.zeros(len(x), 1, *x.shape[2:], device=device)
        for axes in FLIPS:
            total += torch.sigmoid(model(x.flip(axes)).float()).flip(axes)
        mean = (total[:, 0] / len(FLIPS) * 255).round()
        said[start : start + len(x)] = mean.to(torch.uint8).cpu().numpy()
        if progress:
            progress(start + len(x), len(images))
    return said


def check_teacher(config: TrainConfig, teacher: TrainedNetwork) -> None:
    """Raises: BadInput for a student or a teacher of several classes, and for a teacher of other channels."""
    if config.num_classes != 1:
        raise BadInput(
            f"a student of {config.num_classes} classes: --teacher teaches a binary mask. Leave it out, or train with "
            "--num-classes 1."
        )
    record = teacher.record
    if record.num_classes != 1 or record.in_channels != config.in_channels:
        raise BadInput(
            f"the teacher {record.model} has {record.in_channels} channels in and {record.num_classes} classes; wanted "
            f"{config.in_channels} and 1 (polyp or not). Train one for these pictures, or leave --teacher out."
        )


def taught_by(
    teacher: TrainedNetwork, data: TrainData, *, cache: Path, progress: Callable[[int, int], None] | None = None
) -> TrainData:
    """The data with what the teacher says of each picture, computed once and kept in the folder `cache`.

    teacher: one that `check_teacher` let pass.
    """
    record = teacher.record
    pictures = f"{data.said()} {data.pixels_sha256()}"
    told = hashlib.sha256(f"{teacher.fingerprint} {pictures}".encode()).hexdigest()
    file = cache / f"taught-{told[:32]}.npy"
    if not file.exists():
        said = teach(teacher.network.eval(), at_size(data, record.size)[0], progress=progress)
        stored = io.BytesIO()
        np.save(stored, said)
        cache.mkdir(parents=True, exist_ok=True)
        write_file(file, stored.getvalue())
    taught = np.load(file, mmap_mode="r", allow_pickle=False)
    return dataclasses.replace(data, taught=_at_side(taught, data.images.shape[1]))


def prepare_taught(
    config: TrainConfig,
    run: PreparedRun,
    teacher: TrainedNetwork,
    *,
    out: Path,
    start: TrainedNetwork | None = None,
    progress: Callable[[int, int], None] | None = None,
    cpu: bool = False,
) -> tuple[PreparedRun, TaughtTrainee]:
    """The run with the teacher's masks of its training pictures, and what learns from them.

    Of several processes the first asks the teacher; the others then read what it kept in `out`. start: weights of the
    student to go on from. Raises: BadInput.
    """
    processes = join_processes(cpu=cpu)
    with first_alone(processes):
        teacher.network.to(processes.device)
        train = taught_by(teacher, run.train, cache=out / CACHE_FOLDER, progress=progress)
    return (
        dataclasses.replace(run, train=train),
        TaughtTrainee(config, teacher.record, fingerprint=teacher.fingerprint, start=start),
    )


def _at_side(taught: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Brought to the pictures' own side, with which it is warped."""
    from lawder_edge.bundle.processing import resize

    if taught.shape[1] == side:
        return taught
    return np.stack([resize(plane[..., None], (side, side))[..., 0] for plane in taught])


def from_teacher(logits: Tensor, taught: Tensor, *, temperature: float) -> Tensor:
    """How far a binary student is from its teacher: softened cross-entropy, surer near contours, and soft Dice.

    logits: (B, 1, H, W). taught: (B, H, W) probabilities in [0, 1]. temperature: both sides' logits are divided by it,
    which tells the student how unsure the teacher was. Returns: a scalar, least where both agree.
    """
    q = taught[:, None]
    # Stored in steps of 1/255: half a step from 0 and 1.
    softened = torch.sigmoid(torch.logit(q.clamp(1 / 510, 1 - 1 / 510)) / temperature)
    entropy = F.binary_cross_entropy_with_logits(logits / temperature, softened, reduction="none")
    weight = near_contour(q)
    return (weight * entropy).sum() / weight.sum() + soft_dice(logits, taught)


class TaughtTrainee(FloatTrainee):
    """A float network that learns from the true masks and from a teacher.

    teacher: the record of its weights; the student's record tells that it has indirectly seen their pictures too.
    fingerprint: of its weights. start: as of FloatTrainee.
    """

    def __init__(
        self, config: TrainConfig, teacher: WeightsRecord, *, fingerprint: str, start: TrainedNetwork | None = None
    ) -> None:
        super().__init__(config, start)
        self._teacher, self._fingerprint = teacher, fingerprint

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "teacher": self._fingerprint[:16]}

    def loss(self, outputs: Any, batch: Batch) -> Tensor:
        if batch.taught is None:
            raise BadInput("these pictures have no teacher's masks; wanted data from taught_by.")
        logits = outputs if isinstance(outputs, Tensor) else outputs[0]
        taught = from_teacher(logits, batch.taught, temperature=self._config.temperature)
        return super().loss(outputs, batch) + self._config.teacher_weight * taught

    def save(self, path: Path, model: nn.Module, record: WeightsRecord) -> None:
        super().save(path, model, record.having_seen(self._teacher))
