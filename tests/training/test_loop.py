"""The loop as a whole."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from lawder_edge.errors import BadCheckpoint, BadDataset, BadInput
from lawder_edge.evaluation.threshold import choose_threshold
from lawder_edge.training import loop as loop_module
from lawder_edge.training.batches import Batch, TrainData, at_size, clear_parts
from lawder_edge.training.checkpoint import fingerprint, load_into, read_tensors, read_weights, write_tensors
from lawder_edge.training.config import Outlined, Progress, TrainConfig
from lawder_edge.training.loop import learning_rate, mean_dice, outlined_in, predict_probabilities, train
from lawder_edge.training.trainee import FloatTrainee

CONFIG = TrainConfig(
    model="mk_unet_t", schedule="32x1,64x2", batch=4, warmup_steps=2, checkpoint_every=1, val_every=1, ema_decay=0.9
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _state(folder: Path) -> tuple[str, str]:
    tensors, header = read_tensors(folder / "last.safetensors")
    steps = header["state"].replace(header["state"][header["state"].find('"seconds"') :].split(",")[0], "")
    return fingerprint(tensors), steps.split('"history"')[0]


def test_a_run_learns_and_leaves_weights_curves_and_state(
    tmp_path: Path, train_data: TrainData, val_data: TrainData
) -> None:
    config = dataclasses.replace(CONFIG, schedule="64x14", augment=False, learning_rate=1e-2, val_every=7)
    result = train(config, train_data, val=val_data, out=tmp_path, cpu=True)
    losses = [row.loss for row in result.history]
    assert losses[-1] < 0.8 * losses[0]
    assert {p.name for p in tmp_path.iterdir()} >= {"best.safetensors", "last.safetensors", "curves.csv", "curves.png"}
    _, record = read_weights(result.weights)
    assert record.train_ids == train_data.ids
    assert record.train_groups == ("a", "b")
    assert record.val_ids == val_data.ids
    assert 0 < record.threshold < 1
    assert len((tmp_path / "curves.csv").read_text().splitlines()) == 15


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        # Saved at every second step, so that a kill loses one; all that draws random numbers or changes by the step.
        dataclasses.replace(
            CONFIG, model="order", checkpoint_every=2, multi_scale=(0.5, 1.0, 1.5), deep_supervision=True
        ),
    ],
    ids=["saved_at_each_step", "saved_at_every_second"],
)
def test_a_run_that_is_killed_at_any_step_and_resumed_equals_one_that_was_not(
    config: TrainConfig, tmp_path: Path, train_data: TrainData, val_data: TrainData
) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    train(config, train_data, val=val_data, out=whole, cpu=True)

    class KilledError(Exception):
        pass

    for at in (1, 3, 5, 8):
        part = tmp_path / f"killed_{at}"
        part.mkdir()

        def kill(p: Progress, at: int = at) -> None:
            if p.step == at:
                raise KilledError

        with pytest.raises(KilledError):
            train(config, train_data, val=val_data, out=part, on_step=kill, cpu=True)
        train(config, train_data, val=val_data, out=part, resume=True, cpu=True)
        assert _state(part) == _state(whole), f"killed after step {at}"
        assert fingerprint(read_tensors(part / "best.safetensors")[0]) == fingerprint(
            read_tensors(whole / "best.safetensors")[0]
        )


def test_a_run_whose_weights_have_their_channels_last_in_memory_is_resumed_bit_for_bit(
    tmp_path: Path, train_data: TrainData, val_data: TrainData
) -> None:
    config = dataclasses.replace(CONFIG, model="order", schedule="32x1")

    class ChannelsLast(FloatTrainee):
        def create(self) -> nn.Module:
            return super().create().to(memory_format=torch.channels_last)

    class KilledError(Exception):
        pass

    def kill(p: Progress) -> None:
        if p.step == 1:
            raise KilledError

    whole, part = tmp_path / "whole", tmp_path / "part"
    for folder in (whole, part):
        folder.mkdir()
    train(config, train_data, val=val_data, out=whole, trainee=ChannelsLast(config), cpu=True)
    with pytest.raises(KilledError):
        train(config, train_data, val=val_data, out=part, trainee=ChannelsLast(config), on_step=kill, cpu=True)
    train(config, train_data, val=val_data, out=part, trainee=ChannelsLast(config), resume=True, cpu=True)
    assert _state(part) == _state(whole)


def test_a_run_with_an_empty_share_is_another_one_and_is_resumed_bit_for_bit(
    tmp_path: Path, sparse_data: TrainData, val_data: TrainData
) -> None:
    config = dataclasses.replace(CONFIG, schedule="32x2", empty_share=0.5)

    class KilledError(Exception):
        pass

    def kill(p: Progress) -> None:
        if p.step == 4:
            raise KilledError

    for name in ("whole", "part", "full"):
        (tmp_path / name).mkdir()
    train(config, sparse_data, val=val_data, out=tmp_path / "whole", cpu=True)
    with pytest.raises(KilledError):
        train(config, sparse_data, val=val_data, out=tmp_path / "part", on_step=kill, cpu=True)
    train(config, sparse_data, val=val_data, out=tmp_path / "part", resume=True, cpu=True)
    full = dataclasses.replace(config, empty_share=0.0)
    train(full, sparse_data, val=val_data, out=tmp_path / "full", cpu=True)
    assert _state(tmp_path / "part") == _state(tmp_path / "whole")
    assert _state(tmp_path / "full")[0] != _state(tmp_path / "whole")[0]


def test_what_is_outlined_where_nothing_is_there_is_told_beside_dice_and_does_not_choose(
    tmp_path: Path, train_data: TrainData, sparse_data: TrainData
) -> None:
    config = dataclasses.replace(CONFIG, schedule="32x4", augment=False, learning_rate=1e-2, val_every=2)
    result = train(config, train_data, val=sparse_data, out=tmp_path, cpu=True)
    tensors, record = read_weights(result.weights)
    model = FloatTrainee(config).create().eval()
    load_into(model, tensors, source="best")
    images, stored = at_size(sparse_data, 32)
    whole, parts = predict_probabilities(model, images), predict_probabilities(model, clear_parts(sparse_data, 32))
    labels = torch.from_numpy(stored)
    assert result.outlined == outlined_in(parts, threshold=record.threshold)
    assert result.outlined is not None
    assert result.outlined.parts == 12
    assert 0 < result.outlined.area <= 1
    chosen = choose_threshold(list(whole[:, 0].numpy()), [m > 0 for m in labels.numpy()])
    assert record.threshold == chosen.threshold
    row = result.history[result.best_pass]
    at_half = outlined_in(parts)
    assert at_half is not None
    assert row.val_dice == pytest.approx(mean_dice(whole, labels))
    assert row.val_clear_area == pytest.approx(at_half.area)
    assert [r.val_clear_area is None for r in result.history] == [True, False, True, False]


def test_an_area_is_outlined_where_the_probability_reaches_the_threshold_or_a_class_wins() -> None:
    binary = torch.zeros(2, 1, 10, 10)
    binary[0, 0, :5] = 0.6
    binary[1, 0, 0, 0] = 0.6
    assert outlined_in(binary, threshold=0.6) == Outlined(2, pytest.approx(0.255), 0.5)
    assert outlined_in(binary, threshold=0.7) == Outlined(2, 0.0, 0.0)
    classes = torch.zeros(1, 3, 10, 10)
    classes[:, 0], classes[:, 2, :3] = 0.5, 0.9
    assert outlined_in(classes) == Outlined(1, pytest.approx(0.3), 1.0)
    assert outlined_in(binary[:0]) is None


class ForegroundSeen(FloatTrainee):
    """Keeps the share of foreground in each batch."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        self.shares: list[float] = []

    def loss(self, outputs: Any, batch: Batch) -> Tensor:
        self.shares.append(float(batch.labels.float().mean()))
        return super().loss(outputs, batch)


def test_with_a_smaller_scale_foreground_is_seen_smaller(
    tmp_path: Path, train_data: TrainData, val_data: TrainData
) -> None:
    found = []
    for scale in (0.75, 0.2):
        config = dataclasses.replace(CONFIG, smallest_scale=scale)
        trainee = ForegroundSeen(config)
        out = tmp_path / str(scale)
        out.mkdir()
        train(config, train_data, val=val_data, out=out, trainee=trainee, cpu=True)
        found.append(sum(trainee.shares) / len(trainee.shares))
    assert found[1] < 0.9 * found[0]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    tmp_path: Path, train_data: TrainData, val_data: TrainData
) -> None:
    prints = []
    for i, seed in enumerate((0, 0, 1)):
        out = tmp_path / str(i)
        out.mkdir()
        config = dataclasses.replace(CONFIG, schedule="32x1", seed=seed)
        train(config, train_data, val=val_data, out=out, cpu=True)
        prints.append(fingerprint(read_tensors(out / "last.safetensors")[0]))
    assert prints[0] == prints[1] != prints[2]


class Diverging(FloatTrainee):
    """At its third step the loss, or its slope alone, is no finite number."""

    def __init__(self, config: TrainConfig, what: str) -> None:
        super().__init__(config)
        self.what, self.steps = what, 0

    def loss(self, outputs: Any, batch: Batch) -> Tensor:
        loss, self.steps = super().loss(outputs, batch), self.steps + 1
        if self.steps < 3:
            return loss
        return loss * float("nan") if self.what == "loss" else loss + (loss - loss.detach()).abs().sqrt()


@pytest.mark.parametrize(
    ("what", "said"), [("loss", "the loss became nan"), ("gradient", r"the loss became \d.* its gradient (nan|inf)")]
)
def test_a_loss_or_gradient_that_is_no_number_is_not_stepped_into(
    what: str, said: str, tmp_path: Path, train_data: TrainData, val_data: TrainData
) -> None:
    config = dataclasses.replace(CONFIG, schedule="32x2")
    with pytest.raises(BadInput, match=rf"{said}.* at step 3 .*the last good state is .*last\.safetensors"):
        train(config, train_data, val=val_data, out=tmp_path, trainee=Diverging(config, what), cpu=True)
    tensors, header = read_tensors(tmp_path / "last.safetensors")
    assert '"step": 2' in header["state"]
    assert all(value.isfinite().all() for value in tensors.values())


def test_gradients_that_overflow_half_precision_at_every_scale_end_the_run(
    tmp_path: Path, train_data: TrainData, val_data: TrainData, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Scaled(Accelerator):
        """With the loss scale of half precision, which accelerate gives to GPUs alone."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)

    monkeypatch.setattr(loop_module, "Accelerator", Scaled)
    config = dataclasses.replace(CONFIG, schedule="32x8")
    # Scales 4, 2 and 1 of the third to the fifth step.
    with pytest.raises(BadInput, match=r"overflow half precision .* at step 5 .*the last good state is .*last\.safe"):
        train(config, train_data, val=val_data, out=tmp_path, trainee=Diverging(config, "gradient"), cpu=True)
    tensors, header = read_tensors(tmp_path / "last.safetensors")
    assert '"step": 4' in header["state"]
    assert all(value.isfinite().all() for value in tensors.values())


def test_ctrl_c_keeps_the_run(tmp_path: Path, train_data: TrainData, val_data: TrainData) -> None:
    config = dataclasses.replace(CONFIG, checkpoint_every=1000)
    done: list[int] = []

    def interrupt(p: Progress) -> None:
        done.append(p.step)
        if p.step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(config, train_data, val=val_data, out=tmp_path, on_step=interrupt, cpu=True)
    assert done == [1]
    train(config, train_data, val=val_data, out=tmp_path, resume=True, on_step=interrupt, cpu=True)
    assert done == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_resuming_with_another_configuration_is_refused_and_says_what_changed(
    tmp_path: Path, train_data: TrainData, val_data: TrainData
) -> None:
    train(dataclasses.replace(CONFIG, schedule="32x1"), train_data, val=val_data, out=tmp_path, cpu=True)
    with pytest.raises(BadCheckpoint, match="batch was 4, now 6"):
        train(
            dataclasses.replace(CONFIG, schedule="32x1", batch=6),
            train_data, val=val_data, out=tmp_path, resume=True, cpu=True,
        )  # fmt: skip


def test_resuming_with_other_pictures_is_refused(tmp_path: Path, train_data: TrainData, val_data: TrainData) -> None:
    config = dataclasses.replace(CONFIG, schedule="32x1")
    train(config, train_data, val=val_data, out=tmp_path, cpu=True)
    others = dataclasses.replace(train_data, ids=tuple(f"other/{i}" for i in range(12)))
    with pytest.raises(BadCheckpoint, match=r"training list was '12 pictures, sha256 .*, now '12 pictures"):
        train(config, others, val=val_data, out=tmp_path, resume=True, cpu=True)


@pytest.mark.parametrize("damage", ["a flipped bit", "no header"])
def test_a_damaged_run_is_not_resumed(damage: str, tmp_path: Path, train_data: TrainData, val_data: TrainData) -> None:
    config = dataclasses.replace(CONFIG, schedule="32x1")
    train(config, train_data, val=val_data, out=tmp_path, cpu=True)
    run = tmp_path / "last.safetensors"
    if damage == "no header":
        tensors, header = read_tensors(run)
        write_tensors(run, tensors, {"format": header["format"]})
    else:
        run.write_bytes(run.read_bytes()[:-1] + b"\x55")
    before = run.read_bytes()
    with pytest.raises(BadCheckpoint, match=r"damaged since|not that of a run"):
        train(config, train_data, val=val_data, out=tmp_path, resume=True, cpu=True)
    assert run.read_bytes() == before


def test_deep_supervision_scales_and_several_classes_learn(
    tmp_path: Path, train_data: TrainData, val_data: TrainData
) -> None:
    config = dataclasses.replace(
        CONFIG, schedule="64x10", deep_supervision=True, multi_scale=(0.5, 1.0), num_classes=2, loss="structure",
        augment=False, learning_rate=1e-2, val_every=10,
    )  # fmt: skip
    result = train(config, train_data, val=val_data, out=tmp_path, cpu=True)
    assert result.history[-1].loss < 0.8 * result.history[0].loss
    tensors, record = read_weights(result.weights)
    assert record.num_classes == 2
    assert {value.shape[0] for name, value in tensors.items() if name == "head.weight"} == {2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"loss": "dice_bce"}, "unknown loss 'dice_bce'"), ({"model": "unet", "deep_supervision": True}, "no auxiliary")],
)
def test_a_recipe_that_cannot_run_says_why(
    tmp_path: Path, train_data: TrainData, val_data: TrainData, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        train(dataclasses.replace(CONFIG, **changes), train_data, val=val_data, out=tmp_path, cpu=True)  # type: ignore[arg-type]


def test_no_pictures_is_an_error(tmp_path: Path, train_data: TrainData) -> None:
    empty = TrainData(train_data.images[:0], train_data.labels[:0], (), train_data.domain[:0])
    with pytest.raises(BadDataset, match="0 validation pictures"):
        train(CONFIG, train_data, val=empty, out=tmp_path, cpu=True)


def test_the_learning_rate_warms_up_and_falls_to_a_hundredth() -> None:
    config = dataclasses.replace(CONFIG, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.01, abs=1e-3)
