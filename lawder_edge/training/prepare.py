"""From folders to the arrays of a run: reads disk, holds out validation, makes the run folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from lawder_edge.data.cache import load_arrays
from lawder_edge.data.clear import clear_part
from lawder_edge.data.datasets import Sample, first_few, listed_samples
from lawder_edge.data.splits import hold_out
from lawder_edge.errors import BadDataset, BadInput
from lawder_edge.evaluation.overlap import TrainedOn, find_overlap
from lawder_edge.training.batches import TrainData
from lawder_edge.training.clean import note_on_history
from lawder_edge.training.config import TrainConfig
from lawder_edge.training.folder import CACHE_FOLDER, FolderLock, check_free, lock_folder
from lawder_edge.training.loop import RESULT_FILES, RUN_FILE, check_recipe
from lawder_edge.training.processes import first_alone, is_first, join_processes, launched_alone, note_on_bf16
from lawder_edge.training.record import WeightsRecord
from lawder_edge.training.synthetic import notes_on_synthetic, read_synthetic, with_synthetic

CACHE_SIDE = 256

# What a command can do about its warm-up: it has --warmup-steps; it has --passes alone; it trains nothing.
WarmUp = Literal["option", "fixed", "none"]


class Report(Protocol):
    """Called with what is done, of how much."""

    def __call__(self, done: int, total: int) -> None: ...


@dataclass(frozen=True)
class PreparedRun:
    """Training and validation arrays, and what a person should know about them.

    splits: names of the files that listed the pictures, without their folders; none for all pairs of the data. lock:
    keeps other processes out of the run's folder.
    """

    train: TrainData
    val: TrainData
    notes: tuple[str, ...]
    splits: tuple[str, ...] = ()
    lock: FolderLock | None = None


def prepare_run(
    config: TrainConfig,
    *,
    data: Path,
    splits: Sequence[Path],
    out: Path,
    resume: bool,
    overwrite: bool,
    skip_bad: bool,
    progress: Report,
    synthetic: Sequence[Path] = (),
    synthetic_per_pass: int = 0,
    validation: Sequence[Path] = (),
    earlier: Sequence[tuple[str, WeightsRecord]] = (),
    cpu: bool = False,
    warm_up: WarmUp = "option",
) -> PreparedRun:
    """Read the pictures of the splits, hold out validation by seed, and make `out`.

    validation: lists of pictures to validate on instead; without `splits` all others are trained on.

    synthetic: folders of `synth sample` whose pictures are trained on too, none of them held out. synthetic_per_pass:
    how many of those each pass takes, 0 for all. earlier: weights that the new ones are made from, by what a person
    calls them; validation pictures that those know are told. warm_up: what the command has for it, of which alone a
    run that is over too early is told.

    Of several processes the first makes the folder and decodes; the others then read its cache. An earlier run in `out`
    is left as it is: what trains removes it (`loop.clear_run`), once all that can go wrong before has gone well.

    Raises: OutputExists when `out` holds something and neither resume nor overwrite is set, or another process trains
    into it; BadInput, BadDataset, BadImage; SystemExit in the other processes when the first has failed.
    """
    processes = join_processes(cpu=cpu)
    lock = None
    check = partial(check_free, out, resume=resume, overwrite=overwrite, run_file=RUN_FILE, results=RESULT_FILES)
    with first_alone(processes):
        if processes.is_main_process:
            check()
        fit, held = _parted(config, data=data, splits=splits, validation=validation)
        samples = [*fit, *held]
        drawn = read_synthetic(synthetic, channels=config.in_channels, num_classes=config.num_classes)
        fakes = [sample for folder in drawn for sample in folder.samples]
        if not 0 <= synthetic_per_pass <= len(fakes):
            raise BadInput(
                f"{synthetic_per_pass} synthetic pictures a pass; there are {len(fakes)}. Give a number up to that, or "
                "0 for all."
            )
        per_pass = synthetic_per_pass or len(fakes)
        check_recipe(config, pictures=len(fit) + per_pass, on=processes)
        out.mkdir(parents=True, exist_ok=True)
        if processes.is_main_process:
            lock = lock_folder(out)
            # Another may have begun in between.
            check()
        side = max(CACHE_SIDE, max(stage.size for stage in config.stages))
        names = sorted({s.dataset for s in (*samples, *fakes)})
        fit += fakes
        total = len(fit) + len(held)
        parts = [
            load_part(
                part, side=side, channels=config.in_channels, num_classes=config.num_classes, domains=names,
                cache=out / CACHE_FOLDER, skip_bad=skip_bad,
                progress=lambda done, _, offset=offset: progress(offset + done, total),
            )
            for offset, part in ((0, fit), (len(fit), held))
        ]  # fmt: skip
    notes = notes_on(parts, total=total)
    if resume and not (out / RUN_FILE).exists():
        notes.append(f"{out} holds no run to go on with: starting one")
    train, val = (part.data for part in parts)
    notes += filter(None, [note_on_bf16(config.mixed_precision, device=processes.device.type)])
    notes.append(f"{len(train)} pictures to train on, {len(val)} held out for validation")
    if drawn:
        train = with_synthetic(train, drawn, per_pass=synthetic_per_pass)
        notes += notes_on_synthetic(drawn, train=train, val=val, side=max(stage.size for stage in config.stages))
    notes += filter(None, [note_on_history(val, record, by=name) for name, record in earlier])
    notes += filter(None, [note_on_twins(train, val)])
    if warm_up != "none":
        notes += filter(None, [note_on_warm_up(config, pictures=train.pass_length, option=warm_up == "option")])
    if config.empty_share and is_first():
        notes.append(note_on_empty(train, share=config.empty_share))
    return PreparedRun(train, val, tuple(notes) if is_first() else (), tuple(path.name for path in splits), lock)


def _parted(
    config: TrainConfig, *, data: Path, splits: Sequence[Path], validation: Sequence[Path]
) -> tuple[list[Sample], list[Sample]]:
    """To train on, and to validate on. Raises: BadDataset."""
    samples = listed_samples(data, splits)
    if not validation:
        return hold_out(samples, fraction=config.val_fraction, seed=config.seed)
    held = listed_samples(data, validation)
    ids = {sample.id for sample in held}
    if splits and (both := sorted(ids & {sample.id for sample in samples})):
        raise BadDataset(f"{len(both)} pictures stand in --split and in --val-split: {first_few(both)}.")
    fit = [sample for sample in samples if sample.id not in ids]
    if not fit:
        raise BadDataset("--val-split lists every picture that there is: nothing is left to train on.")
    groups = {sample.group for sample in held if sample.group is not None}
    if shared := sorted({sample.group for sample in fit if sample.group is not None} & groups):
        raise BadDataset(
            f"{len(shared)} sequences or patients stand on both sides of --val-split: {first_few(shared)}. Keep each "
            "on one, or leave --val-split out, which holds out whole ones."
        )
    return fit, held


@dataclass(frozen=True)
class LoadedPart:
    """The pictures of one list, the files left out of it, and what was interpreted in its masks."""

    data: TrainData
    left_out: tuple[str, ...]
    interpreted: tuple[str, ...]


def load_part(
    samples: Sequence[Sample],
    *,
    side: int,
    channels: int,
    num_classes: int,
    domains: Sequence[str],
    cache: Path,
    skip_bad: bool,
    progress: Report,
) -> LoadedPart:
    """Decode samples to side x side, or map them from the cache. domains: the datasets by number.

    Raises: BadImage, BadDataset; BadInput where the cache cannot be written.
    """
    loaded = load_arrays(
        samples, size=(side, side), channels=channels, num_classes=num_classes, cache_dir=cache, skip_bad=skip_bad,
        progress=progress,
    )  # fmt: skip
    dataset = {s.id: s.dataset for s in samples}
    domain = np.array([domains.index(dataset[i]) for i in loaded.ids], dtype=np.int64)
    groups = tuple(sorted({s.group for s in samples if s.group is not None}))
    data = TrainData(loaded.images, loaded.labels, loaded.ids, domain, groups)
    return LoadedPart(data, tuple(f"left out {file.id}: {file.reason}" for file in loaded.bad), loaded.notes)


def notes_on(parts: Sequence[LoadedPart], *, total: int) -> list[str]:
    """What a person should know of `total` pictures that were to be loaded, and of the processes that run."""
    bad = [line for part in parts for line in part.left_out]
    interpreted = [line for part in parts for line in part.interpreted]
    notes = list(bad)
    if bad:
        notes.append(f"{len(bad)} of {total} pictures left out")
    if interpreted:
        notes.append(f"{len(interpreted)} masks had to be interpreted: {first_few(interpreted)}")
    if launched_alone():
        notes.append(
            "only this one process was started; for several on a CPU: torchrun --standalone --nproc-per-node N"
        )
    return notes


def note_on_twins(train: TrainData, val: TrainData) -> str | None:
    """What a person should know where one picture stands in two folders, once to train on and once to validate."""
    twins = find_overlap([(id, None) for id in val.ids], TrainedOn.of(ids=train.ids)).trained
    if not twins:
        return None
    return (
        f"{len(twins)} of {len(val)} validation pictures are trained on under the same name in another folder: "
        f"{first_few(twins)}. Give --split a list that holds each picture once"
    )


def note_on_warm_up(config: TrainConfig, *, pictures: int, option: bool = True) -> str | None:
    """What a person should know where a run is over before its learning rate has fallen.

    pictures: of a pass. option: whether the command has --warmup-steps; where not, it has --passes.
    """
    steps_per_pass = max(1, pictures // config.batch)
    steps = steps_per_pass * config.passes
    if config.warmup_steps <= steps // 2:
        return None
    remedy = f"--warmup-steps {max(1, steps // 10)}, or more passes"
    if not option:
        remedy = f"--passes {math.ceil(2 * config.warmup_steps / steps_per_pass)}, or more pictures"
    return (
        f"the learning rate rises for {min(config.warmup_steps, steps)} of the {steps} steps of this run and hardly "
        f"falls. Take {remedy}"
    )


def note_on_empty(train: TrainData, *, share: float) -> str:
    """How many pictures can give way to a part without foreground, and so what share of a pass will.

    share: of the recipe. Of synthetic pictures, of which a pass may take a part, the mean over passes.
    """
    able = np.array([clear_part(labels) is not None for labels in train.labels])
    taken = np.ones(len(train))
    part = train.synthetic
    if part is not None and part.pictures:
        taken[-part.pictures :] = part.per_pass / part.pictures
    emptied = share * (able * taken).sum() / taken.sum()
    return (
        f"{able.sum()} of {len(train)} training pictures have a part without foreground that is large enough: with an "
        f"empty share of {share:g}, {emptied:.1%} of what is trained on shows nothing to find"
    )
