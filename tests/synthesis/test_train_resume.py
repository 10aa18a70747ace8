"""A training of a generator that was stopped, and goes on."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
from pathlib import Path

import pytest
from synth_samples import TINY

from lawder_edge.errors import BadCheckpoint
from lawder_edge.synthesis import train as train_module
from lawder_edge.synthesis.config import SynthProgress
from lawder_edge.synthesis.generator import load_generator
from lawder_edge.synthesis.train import GENERATOR_FILE, train
from lawder_edge.training import checkpoint
from lawder_edge.training.batches import TrainData
from lawder_edge.training.checkpoint import fingerprint, read_tensors


def _run(folder: Path) -> str:
    return fingerprint(read_tensors(folder / "last.safetensors")[0])


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("at", [1, 5, 8])
def test_a_run_that_is_killed_and_resumed_equals_one_that_was_not(at: int, tmp_path: Path, pictures: TrainData) -> None:
    config = dataclasses.replace(TINY, arm="law", steps=9, checkpoint_every=2)

    class KilledError(Exception):
        pass

    def kill(p: SynthProgress) -> None:
        if p.step == at:
            raise KilledError

    whole, part = _folder(tmp_path / "whole"), _folder(tmp_path / "part")
    train(config, pictures, out=whole, cpu=True)
    with pytest.raises(KilledError):
        train(config, pictures, out=part, cpu=True, on_step=kill)
    train(config, pictures, out=part, cpu=True, resume=True)
    assert _run(part) == _run(whole)
    assert (
        load_generator(part / "generator.safetensors").sha256 == load_generator(whole / "generator.safetensors").sha256
    )
    rows = [[line.rpartition(",")[0] for line in (f / "curves.csv").read_text().splitlines()] for f in (part, whole)]
    assert rows[0] == rows[1]


def test_a_run_that_is_killed_after_its_first_save_still_has_the_map_of_step_0(
    tmp_path: Path, pictures: TrainData, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(TINY, arm="law", steps=2, snapshots=(0,))
    whole, part = _folder(tmp_path / "whole"), _folder(tmp_path / "part")
    train(config, pictures, out=whole, cpu=True)

    def killed(*_: object, **__: object) -> None:
        raise SystemExit

    monkeypatch.setattr(train_module, "keep_deltas", killed)
    with pytest.raises(SystemExit):
        train(config, pictures, out=part, cpu=True)
    monkeypatch.undo()
    (part / "step-000000.safetensors").unlink()
    train(config, pictures, out=part, cpu=True, resume=True)
    for name in ("delta-000000.png", "figure8.png"):
        assert (part / name).read_bytes() == (whole / name).read_bytes()
    assert load_generator(part / "step-000000.safetensors").sha256 == (
        load_generator(whole / "step-000000.safetensors").sha256
    )


def test_a_finished_run_goes_on_with_more_steps_as_if_it_had_never_stopped(tmp_path: Path, pictures: TrainData) -> None:
    long, grown = _folder(tmp_path / "long"), _folder(tmp_path / "grown")
    train(dataclasses.replace(TINY, steps=8), pictures, out=long, cpu=True)
    train(dataclasses.replace(TINY, steps=4), pictures, out=grown, cpu=True)
    train(dataclasses.replace(TINY, steps=8), pictures, out=grown, cpu=True, resume=True)
    assert _run(grown) == _run(long)


def test_ctrl_c_keeps_the_run(tmp_path: Path, pictures: TrainData) -> None:
    done: list[int] = []

    def interrupt(p: SynthProgress) -> None:
        done.append(p.step)
        if p.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    config = dataclasses.replace(TINY, steps=4)
    with pytest.raises(KeyboardInterrupt):
        train(config, pictures, out=tmp_path, cpu=True, on_step=interrupt)
    train(config, pictures, out=tmp_path, cpu=True, resume=True, on_step=interrupt)
    assert done == [1, 2, 3, 4]


def test_a_run_is_resumed_with_its_own_recipe_alone(tmp_path: Path, pictures: TrainData) -> None:
    train(dataclasses.replace(TINY, steps=1), pictures, out=tmp_path, cpu=True)
    with pytest.raises(BadCheckpoint, match="arm was 'law', now 'ratio'"):
        train(dataclasses.replace(TINY, arm="ratio"), pictures, out=tmp_path, resume=True, cpu=True)


def test_a_run_that_ended_before_its_generator_was_written_writes_it_when_resumed(
    tmp_path: Path, pictures: TrainData, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(TINY, steps=3)
    whole, part = _folder(tmp_path / "whole"), _folder(tmp_path / "part")
    train(config, pictures, out=whole, cpu=True)
    write, runs = checkpoint.write_file, []

    def full(path: Path, data: bytes) -> None:
        runs.append(path.name == "last.safetensors")
        if path.name == GENERATOR_FILE and sum(runs) > 1:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, data)

    monkeypatch.setattr(checkpoint, "write_file", full)
    with pytest.raises(OSError, match="No space"):
        train(config, pictures, out=part, cpu=True)
    monkeypatch.undo()
    assert load_generator(part / GENERATOR_FILE).record.step == 0
    train(config, pictures, out=part, cpu=True, resume=True)
    assert load_generator(part / GENERATOR_FILE).sha256 == load_generator(whole / GENERATOR_FILE).sha256
