"""The training loop of a generator.

Same configuration, pictures and seed give the same weights, bit for bit on one CPU thread count, whether the run was
killed and resumed or not.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from torch import Tensor, nn

from lawder_edge.errors import BadDataset, BadInput
from lawder_edge.files import write_file
from lawder_edge.synthesis.condition import draw_hint
from lawder_edge.synthesis.config import FREE, LossRecord, SynthConfig, SynthProgress
from lawder_edge.synthesis.delta_figure import FIGURE_FILE, STEPS, delta_files, draw_figure, keep_deltas
from lawder_edge.synthesis.denoisers import check_denoiser
from lawder_edge.synthesis.diffusion import kept_share
from lawder_edge.synthesis.draws import draw
from lawder_edge.synthesis.generator import Generator, GeneratorRecord, read_start, save_generator, start_from
from lawder_edge.synthesis.memory import memory_told
from lawder_edge.synthesis.preview import draw_preview
from lawder_edge.synthesis.shapes import measure_shapes
from lawder_edge.synthesis.step import StepLoss, step_loss
from lawder_edge.synthesis.teacher import TEACHER_WEIGHT, Teacher, load_teacher, read_teacher
from lawder_edge.training.batches import TrainData
from lawder_edge.training.curves import rows_as_csv
from lawder_edge.training.half import UNSCALED, check_half, loss_scale
from lawder_edge.training.interrupt import Interrupt
from lawder_edge.training.loop import parameter_groups
from lawder_edge.training.processes import any_of_all, join_processes
from lawder_edge.training.state import Ema, read_run, write_run

RUN_FILE = "last.safetensors"
GENERATOR_FILE = "generator.safetensors"
PREVIEW_FILE = "preview.png"
CURVES_FILE = "curves.csv"
# What a run leaves beside RUN_FILE, its snapshots and maps apart.
RESULT_FILES = (GENERATOR_FILE, CURVES_FILE, PREVIEW_FILE, FIGURE_FILE)
RUN_FORMAT = "lawder-edge-generator-run-1"
_LESS_MEMORY = (
    "Go on with --resume and --gradient-checkpointing, or start anew with a smaller --batch or more --accumulate; with "
    "one picture at a time take a smaller --size."
)
# Steps that one row of the curves is the mean of.
_ROW_STEPS = 50


_SNAPSHOT = re.compile(r"step-\d{6}\.safetensors")


def snapshot_name(step: int) -> str:
    """File of the weights at a step that `SynthConfig.snapshots` names."""
    return f"step-{step:06d}.safetensors"


@dataclass
class SynthState:
    """step: optimiser steps done. sums: of loss, error, lesion and background error, pictures with both, and steps,
    since the last row. loss_scale: state of the gradient scaler, empty without fp16.
    """

    step: int = 0
    seconds: float = 0.0
    sums: tuple[float, ...] = (0.0,) * 6
    loss_scale: dict[str, float] = dataclasses.field(default_factory=dict)
    history: tuple[LossRecord, ...] = ()


@dataclass(frozen=True)
class SynthResult:
    """What a finished run hands back. weights: the generator's file. history: rows of 50 steps."""

    weights: Path
    step: int
    history: tuple[LossRecord, ...]


def check_pictures(config: SynthConfig, *, data: TrainData) -> None:
    """Raises: BadDataset where there is nothing to learn from."""
    if not len(data):
        raise BadDataset("no pictures to train on; the split and the folder leave none.")
    if not any((labels >= config.lesion_class).any() for labels in data.labels):
        raise BadDataset(
            f"all {len(data)} masks are empty at {config.size}x{config.size} px (no label of {config.lesion_class} or "
            "more): there is no lesion to learn. Look at them with `lawder-edge data check`; --num-classes says how "
            "they are read, and a larger --size keeps smaller lesions."
        )


def check_recipe(
    config: SynthConfig,
    *,
    on: PartialState,
    start: Path | None = None,
    teacher: Path | None = None,
    teacher_weight: float = TEACHER_WEIGHT,
) -> None:
    """Raises: BadInput where the recipe cannot be run by these processes; BadCheckpoint where it cannot go on from
    `start` or learn from `teacher`; Unavailable without diffusers.
    """
    config.check()
    check_denoiser(config)
    shares = on.num_processes * config.accumulate
    if config.batch % shares:
        raise BadInput(
            f"batch {config.batch} does not divide among {on.num_processes} processes and {config.accumulate} parts. "
            f"Take a multiple of {shares}."
        )
    check_half(config.mixed_precision, on.device, option="--mixed-precision")
    if start is not None:
        read_start(start, config)
    if teacher is not None:
        read_teacher(teacher, config, weight=teacher_weight)


def train(
    config: SynthConfig,
    data: TrainData,
    *,
    out: Path,
    start: Path | None = None,
    teacher: Path | None = None,
    teacher_weight: float = TEACHER_WEIGHT,
    resume: bool = False,
    on_step: Callable[[SynthProgress], None] | None = None,
    cpu: bool = False,
) -> SynthResult:
    """Fit a generator to `data`, pictures of the configuration's size, and write into the folder `out`.

    `out` receives `last.safetensors` (the whole run) and `generator.safetensors` (EMA weights, to sample from) every
    `checkpoint_every` steps, `curves.csv`, `preview.png`, a file for each of `snapshots`, and, in the law arm, the
    delta maps at a few steps and at the end `figure8.png`.

    start: a generator to go on from, as step 0 of this run. teacher: one that is shown a hint, whose word counts
    `teacher_weight` in the target (`teacher`). Raises: BadInput, BadDataset, BadCheckpoint, Unavailable;
    KeyboardInterrupt after Ctrl-C, once the run is saved.
    """
    processes = join_processes(cpu=cpu)
    check_recipe(config, on=processes, start=start, teacher=teacher, teacher_weight=teacher_weight)
    check_pictures(config, data=data)
    with memory_told(batch=_part(config, processes), size=config.size, advice=_LESS_MEMORY):
        return _train(
            config, data, processes, out=out, start=start, teacher=teacher, teacher_weight=teacher_weight,
            resume=resume, on_step=on_step,
        )  # fmt: skip


def _train(
    config: SynthConfig,
    data: TrainData,
    processes: PartialState,
    *,
    out: Path,
    start: Path | None,
    teacher: Path | None,
    teacher_weight: float,
    resume: bool,
    on_step: Callable[[SynthProgress], None] | None,
) -> SynthResult:
    at_once = _part(config, processes)
    accelerator = Accelerator(mixed_precision=config.mixed_precision, cpu=processes.device.type == "cpu")
    # Before the seed: its own weights take random numbers.
    taught_by = None if teacher is None else load_teacher(teacher, config, weight=teacher_weight)
    torch.manual_seed(config.seed)
    run_file = out / RUN_FILE
    goes_on = resume and run_file.exists()
    bare = Generator(config)
    if taught_by is not None:
        bare.denoiser.lend_frozen(taught_by.denoiser)
        taught_by.denoiser.to(accelerator.device)
    if start is None and not goes_on:
        bare.denoiser.begin(config)
    first = None if start is None else start_from(start, bare, config)
    origin = "" if first is None else first.sha256
    ids, groups = data.ids, data.groups
    for known in (first, taught_by):
        if known is not None:
            ids = tuple(dict.fromkeys((*known.record.train_ids, *ids)))
            groups = tuple(sorted({*known.record.train_groups, *groups}))
    model = accelerator.prepare_model(bare)
    optimizer = torch.optim.AdamW(parameter_groups(bare, config.weight_decay), lr=config.learning_rate, fused=True)
    # Takes the loss scale of fp16 out of the gradients, and leaves a step out whose gradients overflowed.
    stepper = accelerator.prepare_optimizer(optimizer)
    ema = Ema(bare.denoiser, config.ema_decay)
    state = SynthState()
    # Without texts that were left out: a run of before there was such an option goes on.
    options = {name: value for name, value in dataclasses.asdict(config).items() if name not in FREE and value != ""}
    recipe = {**options, "training list": data.said(), "started from": origin}
    if bare.denoiser.base_sha256:
        recipe["base sha256"] = bare.denoiser.base_sha256
    if taught_by is not None:
        recipe |= {"teacher": taught_by.sha256, "teacher weight": taught_by.weight}
    shapes = torch.from_numpy(measure_shapes((data.labels >= config.lesion_class).astype("uint8")))
    kept = kept_share(bare.denoiser.schedule).to(accelerator.device)

    def save_weights(name: str) -> None:
        record = GeneratorRecord(config, state.step, ids, groups, origin, bare.denoiser.base_sha256)
        if taught_by is not None:
            record = dataclasses.replace(record, teacher=taught_by.sha256, teacher_weight=taught_by.weight)
        save_generator(out / name, ema.state, record, weighter=bare.weighter, mask_shapes=shapes)

    def check_weights() -> None:
        # In every process, which all have the same: one that stopped alone would leave the others waiting.
        if not all(bool(torch.isfinite(value).all()) for value in bare.state_dict().values()):
            raise _diverged("the weights became values that are not finite", state.step, config, out)

    def save() -> None:
        check_weights()
        if not accelerator.is_main_process:
            return
        if accelerator.scaler is not None:
            state.loss_scale = accelerator.scaler.state_dict()
        write_run(run_file, state, model=bare, ema=ema, optimizer=optimizer, recipe=recipe, format=RUN_FORMAT)
        save_weights(GENERATOR_FILE)
        write_file(out / CURVES_FILE, rows_as_csv(state.history, LossRecord))

    if goes_on:
        state = read_run(
            run_file, model=bare, ema=ema, optimizer=optimizer, recipe=recipe, parse=_state, format=RUN_FORMAT
        )
        if accelerator.scaler is not None and state.loss_scale:
            accelerator.scaler.load_state_dict(state.loss_scale)
        # It may have been killed between the writing of the run and of the generator, at its last step.
        save()
    else:
        if not resume and accelerator.is_main_process:
            _remove_run(out)
        # From now on the folder tells whose run it holds, and that it can be written.
        save()
    # Here too it may have been killed, after the first save.
    if state.step == 0 and accelerator.is_main_process:
        if 0 in config.snapshots:
            save_weights(snapshot_name(0))
        if bare.weighter is not None:
            keep_deltas(bare, config, data, folder=out, step=0, at_once=at_once)
    mark = time.monotonic()

    with Interrupt() as interrupt:
        while state.step < config.steps:
            rate = config.learning_rate * min(1.0, (state.step + 1) / max(1, config.warmup_steps))
            for group in optimizer.param_groups:
                group["lr"] = rate
            model.train()
            optimizer.zero_grad()
            values = _gradients(
                model, bare, config, data, step=state.step, kept=kept, accelerator=accelerator, teacher=taught_by
            )
            norms = _clip(accelerator, bare, config.clip_norm)
            healthy = accelerator.scaler is not None or all(math.isfinite(norm) for norm in norms)
            if not all(math.isfinite(value) for value in values) or not healthy:
                what = f"the loss became {values[0]} and its gradient {norms[0]}"
                raise _diverged(what, state.step + 1, config, out)
            scaled_by = loss_scale(accelerator)
            stepper.step()
            state.step += 1
            if loss_scale(accelerator) >= scaled_by:
                ema.update(bare.denoiser, state.step)
            elif scaled_by <= UNSCALED:
                raise _diverged("the gradients overflow half precision unscaled", state.step, config, out)
            now = time.monotonic()
            state.seconds, mark = state.seconds + now - mark, now
            state.sums = tuple(a + b for a, b in zip(state.sums, (*values[1:], 1.0), strict=True))
            if state.step % _ROW_STEPS == 0 or state.step == config.steps:
                state.history = (*state.history, _row(state))
                state.sums = SynthState().sums

            if accelerator.is_main_process and bare.weighter is not None and state.step in (*STEPS, config.steps):
                keep_deltas(bare, config, data, folder=out, step=state.step, at_once=at_once)
                mark = time.monotonic()
            if state.step in config.snapshots:
                check_weights()
                if accelerator.is_main_process:
                    save_weights(snapshot_name(state.step))
            if state.step % config.checkpoint_every == 0 or state.step == config.steps:
                save()
            if config.preview_every and state.step % config.preview_every == 0 and accelerator.is_main_process:
                averaged = copy.deepcopy(bare.denoiser).eval()
                averaged.load_state_dict(ema.state)
                write_file(out / PREVIEW_FILE, draw_preview(averaged, config, data, at_once=at_once))
                mark = time.monotonic()
            if on_step and accelerator.is_main_process:
                on_step(SynthProgress(state.step, config.steps, values[1]))
            if any_of_all(accelerator, interrupt.asked) and state.step < config.steps:
                save()
                raise KeyboardInterrupt

    if accelerator.is_main_process and bare.weighter is not None:
        write_file(out / FIGURE_FILE, draw_figure(config, data, folder=out, last=state.step))
    accelerator.wait_for_everyone()
    return SynthResult(out / GENERATOR_FILE, state.step, state.history)


def _diverged(what: str, step: int, config: SynthConfig, out: Path) -> BadInput:
    return BadInput(
        f"{what} at step {step} (learning rate {config.learning_rate:.2g}). Start another run with a lower "
        f"--learning-rate, from the last good state: --init {out / GENERATOR_FILE}."
    )


def _remove_run(out: Path) -> None:
    """What an earlier run left in its folder, and nothing else there."""
    for name in (RUN_FILE, *RESULT_FILES):
        (out / name).unlink(missing_ok=True)
    for file in (*delta_files(out).values(), *(f for f in out.iterdir() if _SNAPSHOT.fullmatch(f.name))):
        file.unlink()


def _part(config: SynthConfig, on: PartialState) -> int:
    """Pictures that go forward at a time."""
    return config.batch // int(on.num_processes) // config.accumulate


def _gradients(
    model: nn.Module,
    bare: Generator,
    config: SynthConfig,
    data: TrainData,
    *,
    step: int,
    kept: Tensor,
    accelerator: Accelerator,
    teacher: Teacher | None,
) -> list[float]:
    """Sum the gradients of one step. Returns: total loss, loss, error, lesion and background error, pictures with both,
    over all processes.
    """

    def sum_of_all(value: Tensor) -> Tensor:
        return value if accelerator.num_processes == 1 else accelerator.reduce(value, "sum")

    size = _part(config, accelerator.state)
    first = accelerator.process_index * size * config.accumulate
    total = torch.zeros(6, device=accelerator.device)
    for part in range(config.accumulate):
        places = range(first + part * size, first + (part + 1) * size)
        denoiser = bare.denoiser
        drawn = draw(data, config, step=step, places=places, noise_shape=denoiser.shape).to(accelerator.device)
        hint = None
        if config.condition or teacher is not None:
            hint = draw_hint(drawn.x0, config, step=step, places=places)
        drawn = dataclasses.replace(drawn, x0=denoiser.encode(drawn.x0))
        waits = accelerator.num_processes > 1 and part + 1 < config.accumulate
        with accelerator.no_sync(model) if waits else nullcontext():
            loss: StepLoss = step_loss(
                model,
                bare.weighter,
                drawn,
                config,
                kept=kept,
                floor=denoiser.schedule.floor,
                sum_of_all=sum_of_all,
                hint=hint,
                teacher=teacher,
            )
            accelerator.backward(loss.total / config.accumulate)
        means = torch.stack([loss.total.detach(), loss.diffusion, loss.error])
        shares = len(places) / config.batch
        total += torch.cat([means * shares, torch.stack([loss.lesion, loss.background, loss.pictures.float()])])
    return [float(value) for value in sum_of_all(total).cpu()]


def _clip(accelerator: Accelerator, model: Generator, limit: float) -> list[float]:
    """Clip denoiser and weighter apart, so that neither changes the other's step. Returns: their norms before."""
    norms = [accelerator.clip_grad_norm_(model.denoiser.parameters(), limit)]
    if model.weighter is not None:
        # Not by the accelerator, which would take fp16's loss scale out a second time.
        norms.append(torch.nn.utils.clip_grad_norm_(model.weighter.parameters(), limit))
    return [float(norm) for norm in norms]


def _row(state: SynthState) -> LossRecord:
    loss, error, lesion, background, pictures, steps = state.sums
    shown = max(pictures, 1.0)
    return LossRecord(state.step, loss / steps, error / steps, lesion / shown, background / shown, state.seconds)


def _state(fields: dict[str, Any]) -> SynthState:
    rows = tuple(LossRecord(**row) for row in fields["history"])
    return SynthState(**{**fields, "sums": tuple(fields["sums"]), "history": rows})
