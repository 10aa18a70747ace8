"""From folders to the arrays that a generator is trained on: reads disk, makes the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lawder_edge.data.datasets import listed_samples
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.teacher import TEACHER_WEIGHT
from lawder_edge.synthesis.train import RESULT_FILES, RUN_FILE, check_pictures, check_recipe
from lawder_edge.training.batches import TrainData
from lawder_edge.training.folder import CACHE_FOLDER, FolderLock, check_free, lock_folder
from lawder_edge.training.prepare import Report, load_part, notes_on
from lawder_edge.training.processes import first_alone, is_first, join_processes, note_on_bf16


@dataclass(frozen=True)
class PreparedPictures:
    """What is trained on, what a person should know about it, and what keeps others out of the run's folder."""

    data: TrainData
    notes: tuple[str, ...]
    lock: FolderLock | None = None


def prepare_pictures(
    config: SynthConfig,
    *,
    data: Path,
    splits: Sequence[Path],
    out: Path,
    start: Path | None,
    teacher: Path | None = None,
    teacher_weight: float = TEACHER_WEIGHT,
    resume: bool,
    overwrite: bool,
    skip_bad: bool,
    progress: Report,
    cpu: bool = False,
) -> PreparedPictures:
    """Read the pictures of the splits at the generator's size, all of them to train on, and make `out`.

    Of several processes the first makes the folder and decodes; the others then read its cache. An earlier run in `out`
    is left as it is: `train` removes it, once nothing can go wrong any more before its own first save.

    start: the generator that the run will go on from. teacher, teacher_weight: as of `train`.

    Raises: OutputExists when `out` holds something and neither resume nor overwrite is set, or another process trains
    into it; BadInput, BadDataset, BadImage, BadCheckpoint, Unavailable; SystemExit in the other processes when the
    first has failed.
    """
    processes = join_processes(cpu=cpu)
    lock = None
    check = partial(check_free, out, resume=resume, overwrite=overwrite, run_file=RUN_FILE, results=RESULT_FILES)
    with first_alone(processes):
        if processes.is_main_process:
            check()
        samples = listed_samples(data, splits)
        check_recipe(config, on=processes, start=start, teacher=teacher, teacher_weight=teacher_weight)
        out.mkdir(parents=True, exist_ok=True)
        if processes.is_main_process:
            lock = lock_folder(out)
            # Another may have begun in between.
            check()
        part = load_part(
            samples,
            side=config.size,
            channels=config.in_channels,
            num_classes=config.num_classes,
            domains=sorted({s.dataset for s in samples}),
            cache=out / CACHE_FOLDER,
            skip_bad=skip_bad,
            progress=progress,
        )
        check_pictures(config, data=part.data)
    notes = notes_on([part], total=len(samples))
    if resume and not (out / RUN_FILE).exists():
        notes.append(f"{out} holds no run to go on with: starting one")
    notes += filter(None, [note_on_bf16(config.mixed_precision, device=processes.device.type)])
    notes += filter(None, [note_on_masks(config, part.data)])
    notes.append(f"{len(part.data)} pictures of {config.size}x{config.size} px to train on")
    return PreparedPictures(part.data, tuple(notes) if is_first() else (), lock)


def note_on_masks(config: SynthConfig, data: TrainData) -> str | None:
    """What a person should know where masks show no lesion or nothing else: no arm weights those (w = 1)."""
    lesions = [labels >= config.lesion_class for labels in data.labels]
    empty, full = sum(not lesion.any() for lesion in lesions), sum(bool(lesion.all()) for lesion in lesions)
    if not empty and not full:
        return None
    told = [f"{count} {what}" for count, what in ((empty, "empty"), (full, "lesion all over")) if count]
    return (
        f"of {len(data)} masks at {config.size}x{config.size} px {' and '.join(told)}: all pixels of their pictures "
        "weigh the same in every arm"
    )
