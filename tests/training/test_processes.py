"""Two processes train one network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lawder_edge.data.phantom_files import write_phantom_dataset
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.prepare import prepare_pictures
from lawder_edge.training import processes
from lawder_edge.training.checkpoint import fingerprint, read_tensors
from lawder_edge.training.config import TrainConfig
from lawder_edge.training.prepare import prepare_run

# Plain has nothing that sees the whole batch, so that two halves give the gradient of one whole. Mixed has what depends
# on the process (statistics of the batch, dropout). Both have a head that gets no gradient. DIE_AT ends a process as a
# power cut does, in the forward pass of that step.
NETWORKS = """
import os
from torch import nn

class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head, self.unused = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 1, 1), nn.Conv2d(4, 1, 1)
        self.norm, self.drop, self.steps = nn.Identity(), nn.Identity(), 0

    def forward(self, x):
        self.steps += self.training
        if str(self.steps) == os.environ.get("DIE_AT"):
            os._exit(9)
        return self.head(self.drop(self.norm(self.body(x)).relu()))

class Mixed(Plain):
    def __init__(self):
        super().__init__()
        self.norm, self.drop = nn.BatchNorm2d(4), nn.Dropout(0.3)
"""
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = (
    "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
    "--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no",
)  # fmt: skip
RECIPE = (
    "--schedule", "32x2", "--batch", "4", "--val-fraction", "0.25", "--val-every", "1", "--checkpoint-every", "1",
    "--warmup-steps", "2", "--learning-rate", "1e-2", "--threads", "1", "--empty-share", "0.5",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the networks and with 16 phantom frames, of which 12 are trained on: 3 steps a pass."""
    folder = tmp_path_factory.mktemp("processes")
    write_phantom_dataset(folder / "frames", n=16, size=(48, 64))
    (folder / "networks.py").write_text(NETWORKS)
    return folder


def _train(
    place: Path, *options: str, launcher: tuple[str, ...] = (), die_at: int = 0
) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[2]
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join((str(place), str(root))), "OMP_NUM_THREADS": "1",
        **({"DIE_AT": str(die_at)} if die_at else {}),
    }  # fmt: skip
    words = [word for module in (launcher, ("lawder_edge", "train")) if module for word in ("-m", *module)]
    return subprocess.run(
        [sys.executable, *words, "--data", "frames", *RECIPE, *options],
        cwd=place, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def _prints(run: Path) -> tuple[str, ...]:
    names = ("last.safetensors", "best.safetensors")
    return tuple(fingerprint(read_tensors(run / name)[0]) for name in names)


@pytest.mark.parametrize("has_bf16", [False, True])
def test_bf16_is_warned_of_where_the_processor_only_imitates_it(
    has_bf16: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_phantom_dataset(tmp_path / "data", n=8, size=(64, 64), seed=0)
    monkeypatch.setattr(processes, "computes_bf16", lambda: has_bf16)
    reading = {"data": data, "splits": (), "resume": False, "overwrite": False, "skip_bad": False, "cpu": True}
    run = prepare_run(
        TrainConfig(schedule="32x1", mixed_precision="bf16"), out=tmp_path / "a", progress=print, **reading
    )
    pictures = prepare_pictures(
        SynthConfig(size=32, widths=(8, 16), mixed_precision="bf16"),
        out=tmp_path / "b", start=None, progress=print, **reading,
    )  # fmt: skip
    for notes in (run.notes, pictures.notes):
        assert any("imitates it" in note for note in notes) is not has_bf16


def test_float32_and_graphics_cards_are_not_warned_of_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "computes_bf16", lambda: False)
    assert processes.note_on_bf16("bf16", device="cpu") is not None
    assert processes.note_on_bf16("no", device="cpu") is None
    assert processes.note_on_bf16("bf16", device="cuda") is None


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_two_processes_train_as_one_does_and_speak_with_one_voice(launcher: tuple[str, ...], place: Path) -> None:
    name = launcher[0].partition(".")[0]
    options = ("--model", "networks:Plain", "--cpu", "--out")
    one = _train(place, *options, f"one_{name}")
    two = _train(place, *options, f"two_{name}", launcher=launcher)
    assert one.returncode == two.returncode == 0, two.stderr
    assert len(two.stdout.splitlines()) == len(one.stdout.splitlines()) == 1
    assert two.stderr.count("12 pictures to train on, 4 held out") == 1
    assert (able := re.search(r"(\d+) of 12 training pictures have a part without foreground", two.stderr))
    assert int(able[1]) >= 3
    assert "Warning" not in two.stderr
    runs = [place / f"{n}_{name}" for n in ("one", "two")]
    assert sorted(p.name for p in runs[1].iterdir()) == sorted(p.name for p in runs[0].iterdir())
    alone, together = (read_tensors(run / "best.safetensors")[0] for run in runs)
    for tensor, value in alone.items():
        # Sums of gradients in another order.
        torch.testing.assert_close(together[tensor], value, rtol=1e-4, atol=1e-5)
    rows = [[row.split(",") for row in (run / "curves.csv").read_text().splitlines()] for run in runs]
    for ours, theirs in zip(*rows, strict=True):
        assert ours[:2] == theirs[:2]
        if ours[0].isdigit():
            assert float(ours[2]) == pytest.approx(float(theirs[2]), abs=1e-5)
            assert float(ours[5]) == pytest.approx(float(theirs[5]), abs=5e-3)


@pytest.mark.slow
def test_two_processes_that_are_killed_go_on_as_if_nothing_had_been(place: Path) -> None:
    options = ("--model", "networks:Mixed", "--cpu", "--out")
    whole = _train(place, *options, "whole", launcher=TORCHRUN)
    assert whole.returncode == 0, whole.stderr
    killed = _train(place, *options, "killed", launcher=TORCHRUN, die_at=5)
    assert killed.returncode != 0
    before = (place / "killed" / "last.safetensors").read_bytes()

    refused = _train(place, *options, "killed", launcher=TORCHRUN)
    assert refused.returncode != 0
    assert refused.stderr.count("error: ") == 1
    assert "error: killed exists. Add --resume" in refused.stderr
    assert (place / "killed" / "last.safetensors").read_bytes() == before

    resumed = _train(place, *options, "killed", "--resume", launcher=TORCHRUN)
    assert resumed.returncode == 0, resumed.stderr
    assert _prints(place / "killed") == _prints(place / "whole")


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to use")
def test_two_processes_without_a_gpu_are_one_run_even_where_nobody_says_cpu(place: Path) -> None:
    ended = _train(place, "--model", "networks:Plain", "--out", "no_cpu", launcher=TORCHRUN)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("validation Dice") == 1


@pytest.mark.parametrize(
    ("environment", "first", "alone"),
    [
        ({}, True, False),
        ({"RANK": "0", "MASTER_ADDR": "127.0.0.1"}, True, False),
        ({"RANK": "1", "MASTER_ADDR": "127.0.0.1"}, False, False),
        ({"OMPI_COMM_WORLD_RANK": "3"}, False, False),
        ({"MASTER_ADDR": "127.0.0.1"}, True, True),
    ],
)
def test_a_process_knows_its_place(
    environment: dict[str, str], first: bool, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert processes.is_first() is first
    assert processes.launched_alone() is alone
