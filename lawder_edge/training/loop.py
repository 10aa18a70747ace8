"""The training loop.

Same configuration, data and seed give the same weights, bit for bit on one CPU thread count, whether the run was killed
and resumed or not.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn

from lawder_edge.bundle.processing import probabilities
from lawder_edge.data.augment import AugmentConfig
from lawder_edge.errors import BadDataset, BadInput
from lawder_edge.files import write_file
from lawder_edge.training.batches import TrainData, at_size, augmented_batch, clear_parts, normalise, pictures_of_pass
from lawder_edge.training.config import Outlined, PassRecord, Progress, TrainConfig, TrainResult
from lawder_edge.training.curves import CURVE_FILES, write_curves
from lawder_edge.training.half import UNSCALED, check_half, loss_scale
from lawder_edge.training.interrupt import Interrupt
from lawder_edge.training.losses import LOSSES
from lawder_edge.training.processes import any_of_all, join_processes, mean_of_all, value_of_first
from lawder_edge.training.record import WeightsRecord
from lawder_edge.training.state import Ema, RunState, read_run, run_state, write_run
from lawder_edge.training.trainee import FloatTrainee, Trainee, untrained

RUN_FILE = "last.safetensors"
BEST_FILE = "best.safetensors"
# What was validated on, as `--split` of an evaluation takes it.
VAL_FILE = "val.txt"
# What a run leaves beside RUN_FILE.
RESULT_FILES = (BEST_FILE, VAL_FILE, *CURVE_FILES)
# Of a picture; most polyps of public sets are larger.
OUTLINED_AREA = 0.01


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Linear warm-up, then cosine to 1 % of the peak. step: from 0."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    return config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on convolution weights only, not on biases and BatchNorm."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


@torch.no_grad()
def predict_probabilities(model: nn.Module, images: np.ndarray[Any, Any], *, batch: int = 8) -> Tensor:
    """Probabilities of an eval-mode model. images: (N, H, W, C) uint8. Returns: (N, K, H, W) float32."""
    device = next(model.parameters()).device
    parts = []
    for start in range(0, len(images), batch):
        logits = model(normalise(images[start : start + batch]).to(device)).float()
        parts.append(torch.from_numpy(probabilities(logits.cpu().numpy())))
    return torch.cat(parts) if parts else torch.empty(0, 1, *images.shape[1:3])


def foreground(probabilities: Tensor, labels: Tensor, *, threshold: float = 0.5) -> list[tuple[Tensor, Tensor]]:
    """What is found and what is true of each foreground class, (N, H, W) bool both.

    probabilities: (N, K, H, W); labels: (N, H, W). threshold: of the one class where K is 1; of several the most
    probable is found.
    """
    classes = probabilities.shape[1]
    if classes == 1:
        return [(probabilities[:, 0] >= threshold, labels > 0)]
    winner = probabilities.argmax(1)
    return [(winner == c, labels == c) for c in range(1, classes)]


def mean_dice(probabilities: Tensor, labels: Tensor, *, threshold: float = 0.5) -> float:
    """Mean over images of Dice (over foreground classes). probabilities: (N, K, H, W); labels: (N, H, W)."""
    scores = []
    for predicted, truth in foreground(probabilities, labels, threshold=threshold):
        total = predicted.sum((1, 2)) + truth.sum((1, 2))
        overlap = 2 * (predicted & truth).sum((1, 2))
        scores.append(torch.where(total > 0, overlap / total.clamp(min=1), torch.ones(())))
    return float(torch.stack(scores).mean())


def outlined_in(probabilities: Tensor, *, threshold: float = 0.5) -> Outlined | None:
    """What is called foreground in pictures without any, None for no pictures. probabilities: (M, K, H, W)."""
    if not len(probabilities):
        return None
    called = probabilities[:, 0] >= threshold if probabilities.shape[1] == 1 else probabilities.argmax(1) > 0
    areas = called.double().mean((1, 2))
    return Outlined(len(areas), float(areas.mean()), float((areas > OUTLINED_AREA).double().mean()))


def check_recipe(config: TrainConfig, *, pictures: int, on: PartialState) -> None:
    """Raises: BadInput where the recipe cannot be run on that many training pictures by these processes."""
    processes = on.num_processes
    config.check()
    if config.loss not in LOSSES:
        raise BadInput(f"unknown loss {config.loss!r}. Known: {', '.join(LOSSES)}.")
    if config.batch % processes:
        raise BadInput(
            f"batch {config.batch} does not divide among {processes} processes. Take a multiple of {processes}."
        )
    if processes > 1 and config.batch > pictures:
        raise BadInput(f"batch {config.batch} is more than the {pictures} training pictures. Take a smaller --batch.")
    check_half(config.mixed_precision, on.device, option="--mixed-precision")
    _try(untrained(config), config, pictures=min(config.batch // processes, pictures))


def clear_run(out: Path) -> None:
    """Remove an earlier run from the folder, and nothing else: last, once nothing can go wrong before the new one."""
    for name in (RUN_FILE, *RESULT_FILES):
        (out / name).unlink(missing_ok=True)


def train(
    config: TrainConfig,
    data: TrainData,
    *,
    val: TrainData,
    out: Path,
    resume: bool = False,
    trainee: Trainee | None = None,
    on_step: Callable[[Progress], None] | None = None,
    cpu: bool = False,
) -> TrainResult:
    """Fit `config.model`, or another trainee, to `data`, choose by `val`, write into the folder `out`.

    `out` receives `last.safetensors` (the whole run, every `checkpoint_every` steps and at each pass),
    `best.safetensors` (EMA weights, best mean Dice on `val` at the last stage's size), `curves.csv`, `curves.png` and
    `val.txt`, the ids of `val`.

    Raises: BadInput, BadDataset, BadCheckpoint; KeyboardInterrupt after Ctrl-C, once the run is saved.
    """
    if not len(data) or not len(val):
        raise BadDataset(f"{len(data)} training and {len(val)} validation pictures: both need at least one.")
    processes = join_processes(cpu=cpu)
    world, rank = processes.num_processes, processes.process_index
    check_recipe(config, pictures=data.pass_length, on=processes)
    # Without deep supervision the auxiliary heads get no gradient, for which DDP would wait.
    handlers = [DistributedDataParallelKwargs(find_unused_parameters=not config.deep_supervision)]
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision, cpu=processes.device.type == "cpu", kwargs_handlers=handlers
    )
    torch.manual_seed(config.seed)
    trainee = trainee or FloatTrainee(config)
    bare = trainee.create()
    evaluated = copy.deepcopy(bare).eval().to(accelerator.device)
    model = accelerator.prepare_model(bare)
    optimizer = torch.optim.AdamW(parameter_groups(bare, config.weight_decay), lr=config.learning_rate, fused=True)
    # Takes the loss scale of fp16 out of the gradients, and leaves a step out whose gradients overflowed.
    stepper = accelerator.prepare_optimizer(optimizer)
    ema = Ema(bare, config.ema_decay)
    steps_per_pass = max(1, data.pass_length // config.batch)
    steps = steps_per_pass * config.passes
    state = RunState()
    run_file, best_file = out / RUN_FILE, out / BEST_FILE
    recipe = {
        **dataclasses.asdict(config),
        **trainee.facts(),
        "training list": data.said(),
        "training pictures": data.pixels_sha256(),
        "validation list": val.said(),
        "validation pictures": val.pixels_sha256(),
    }

    scale = (config.smallest_scale, AugmentConfig.scale[1])
    augmentation = AugmentConfig(scale=scale) if config.augment else None
    val_size = config.stages[-1].size
    val_images, stored_labels = at_size(val, val_size)
    val_labels = torch.from_numpy(stored_labels).long()
    val_clear = clear_parts(val, val_size)
    record = WeightsRecord(
        model=config.model,
        in_channels=config.in_channels,
        num_classes=config.num_classes,
        size=val_size,
        train_ids=data.seen_ids,
        train_groups=data.seen_groups,
        val_ids=val.ids,
        val_groups=val.groups,
        synthetic=() if data.synthetic is None else data.synthetic.sources,
        recipe=config.to_json(),
    )

    def save_run() -> None:
        if accelerator.is_main_process:
            if accelerator.scaler is not None:
                state.loss_scale = accelerator.scaler.state_dict()
            write_run(run_file, state, model=bare, ema=ema, optimizer=optimizer, recipe=recipe)

    if resume and run_file.exists():
        state = read_run(run_file, model=bare, ema=ema, optimizer=optimizer, recipe=recipe, parse=run_state)
        if accelerator.scaler is not None and state.loss_scale:
            accelerator.scaler.load_state_dict(state.loss_scale)
    else:
        if accelerator.is_main_process:
            clear_run(out)
        # From now on the folder tells whose run it holds, and that it can be written.
        save_run()
    if accelerator.is_main_process and not (out / VAL_FILE).exists():
        write_file(out / VAL_FILE, "".join(f"{id}\n" for id in val.ids).encode())
    mark = time.monotonic()

    with Interrupt() as interrupt:
        while state.step < steps:
            pass_index, position = divmod(state.step, steps_per_pass)
            permutation = pictures_of_pass(data, seed=config.seed, pass_index=pass_index)
            share = config.batch // world
            first = position * config.batch + rank * share
            size = _scaled(config, pass_index, state.step)
            batch = augmented_batch(
                data,
                permutation[first : first + share],
                size=size,
                seed=config.seed,
                pass_index=pass_index,
                config=augmentation,
                empty_share=config.empty_share,
            )
            rate = learning_rate(config, state.step, steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            trainee.before_step(bare, state.step / steps)
            model.train()
            # For networks that draw numbers (dropout): the same in a resumed run.
            torch.manual_seed(_step_seed(config.seed, state.step, rank))
            batch = batch.to(accelerator.device)
            loss = trainee.loss(model(batch.frames), batch)
            optimizer.zero_grad()
            accelerator.backward(loss)
            norm = float(accelerator.clip_grad_norm_(bare.parameters(), config.clip_norm))
            value = mean_of_all(accelerator, loss)
            # Before the step, which would put it into the weights; fp16's scaler leaves out such gradients by itself.
            if not math.isfinite(value) or (accelerator.scaler is None and not math.isfinite(norm)):
                what = f"the loss became {value} and its gradient {norm}"
                raise _diverged(what, state.step + 1, rate=rate, run_file=run_file)
            scaled_by = loss_scale(accelerator)
            stepper.step()
            state.step += 1
            if loss_scale(accelerator) >= scaled_by:
                ema.update(bare, state.step)
            elif scaled_by <= UNSCALED:
                what = "the gradients overflow half precision unscaled"
                raise _diverged(what, state.step, rate=rate, run_file=run_file)
            state.loss_sum += value
            now = time.monotonic()
            state.seconds, mark = state.seconds + now - mark, now

            scores: tuple[float, float | None] | tuple[None, None] = (None, None)
            if state.step % steps_per_pass == 0:
                if (pass_index + 1) % config.val_every == 0 or state.step == steps:
                    if accelerator.is_main_process:
                        scores = _validate(evaluated, ema, val_images, val_labels, val_clear)
                    scores = value_of_first(scores)
                val_dice = scores[0]
                row = PassRecord(pass_index, size, state.loss_sum / steps_per_pass, rate, state.seconds, *scores)
                state.history = (*state.history, row)
                state.loss_sum = 0.0
                if val_dice is not None and val_dice > state.best_dice:
                    state.best_dice, state.best_pass = val_dice, pass_index
                    if accelerator.is_main_process:
                        trainee.save(best_file, evaluated, record)
                if accelerator.is_main_process:
                    write_curves(out, state.history)
                save_run()
            elif state.step % config.checkpoint_every == 0:
                save_run()
            if on_step and accelerator.is_main_process:
                best = state.best_dice if state.best_pass >= 0 else None
                on_step(Progress(state.step, steps, pass_index, config.passes, value, best))
            if any_of_all(accelerator, interrupt.asked) and state.step < steps:
                save_run()
                raise KeyboardInterrupt

    accelerator.wait_for_everyone()
    outlined = None
    if accelerator.is_main_process:
        threshold = _store_threshold(best_file, trainee, evaluated, val_images, val_labels)
        outlined = outlined_in(predict_probabilities(evaluated, val_clear), threshold=threshold)
    outlined = value_of_first(outlined)
    return TrainResult(best_file, state.best_dice, state.best_pass, state.history, outlined)


def _try(model: Any, config: TrainConfig, *, pictures: int) -> None:
    """One forward pass of the smallest batch, for what a network of a user's own may do wrong."""
    side = min(_side(stage.size, factor) for stage in config.stages for factor in config.multi_scale)
    x = torch.zeros(pictures, config.in_channels, side, side)
    shown = f"model {config.model!r}, given {tuple(x.shape)} in training mode,"
    try:
        with torch.no_grad():
            outputs = model.train()(x)
    except Exception as error:  # whatever a user's network raises
        raise BadInput(f"{shown} fails: {error}. Take a larger --batch or --schedule, or correct it.") from error
    logits = outputs if isinstance(outputs, Tensor) else outputs[0]
    wanted = (pictures, config.num_classes, side, side)
    if logits.shape != wanted:
        raise BadInput(f"{shown} gives {tuple(logits.shape)}; wanted logits of {wanted}, one channel a class.")


def _step_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence((seed, 2, step, rank)).generate_state(1, np.uint64)[0])


def _diverged(what: str, step: int, *, rate: float, run_file: Path) -> BadInput:
    return BadInput(
        f"{what} at step {step} (learning rate {rate:.2g}). Lower --learning-rate; the last good state is {run_file}."
    )


def _scaled(config: TrainConfig, pass_index: int, step: int) -> int:
    """The side of this step's pictures: the stage's size times a factor of `multi_scale`, a multiple of 32."""
    factor = np.random.default_rng((config.seed, 1, step)).choice(config.multi_scale)
    return _side(config.size_at(pass_index), float(factor))


def _side(size: int, factor: float) -> int:
    return max(32, round(size * factor / 32) * 32)


def _validate(
    model: nn.Module, ema: Ema, images: np.ndarray[Any, Any], labels: Tensor, clear: np.ndarray[Any, Any]
) -> tuple[float, float | None]:
    """Dice on the pictures, by which is chosen, and the area outlined in their clear parts, which is told beside it."""
    model.load_state_dict(ema.state)
    outlined = outlined_in(predict_probabilities(model, clear))
    return mean_dice(predict_probabilities(model, images), labels), None if outlined is None else outlined.area


def _store_threshold(
    path: Path, trainee: Trainee, model: nn.Module, images: np.ndarray[Any, Any], labels: Tensor
) -> float:
    """Choose the binary threshold of the best weights on validation, write it into them, and leave them in `model`."""
    from lawder_edge.evaluation.threshold import choose_threshold

    record = trainee.load(path, model)
    if record.num_classes > 1:
        return record.threshold
    found = predict_probabilities(model, images)[:, 0].numpy()
    choice = choose_threshold(list(found), [m > 0 for m in labels.numpy()])
    trainee.save(path, model, dataclasses.replace(record, threshold=choice.threshold))
    return choice.threshold
