"""Two processes train one generator and draw one folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sd_samples import write_base

from lawder_edge.data.phantom_files import write_phantom_dataset
from lawder_edge.data.provenance import read_manifest
from lawder_edge.synthesis.generator import load_generator

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
RECIPE = (
    "--batch", "8", "--steps", "4", "--warmup-steps", "4", "--preview-every", "0", "--cpu", "--threads", "1",
)  # fmt: skip
DENOISERS = {
    "small": ("--size", "32", "--widths", "8", "16"),
    "controlnet": ("--size", "64", "--denoiser", "controlnet", "--base", "base"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    write_phantom_dataset(folder / "frames", n=12, size=(32, 32))
    write_base(folder / "base")
    return folder


def _synth(place: Path, *words: str, several: bool = False) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, *(TORCHRUN if several else ()), "-m", "lawder_edge", "synth", *words],
        cwd=place, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended


@pytest.mark.slow
@pytest.mark.parametrize("denoiser", DENOISERS)
def test_two_processes_train_as_one_does_and_draw_every_picture_once(denoiser: str, place: Path) -> None:
    runs = [f"{denoiser}_{name}" for name in ("one", "two")]
    for name, several, parts in zip(runs, (False, True), ("1", "2"), strict=True):
        ended = _synth(
            *(place, "train", "--data", "frames", "--out", name, *RECIPE, *DENOISERS[denoiser]),
            *("--accumulate", parts),
            several=several,
        )
        assert ended.stdout.count("4 steps, error") == 1
        side = DENOISERS[denoiser][1]
        assert ended.stderr.count(f"12 pictures of {side}x{side} px to train on") == 1
    base = str(place / "base") if denoiser == "controlnet" else ""
    alone, together = (load_generator(place / name / "generator.safetensors", base=base) for name in runs)
    for name, value in alone.denoiser.state_dict().items():
        # Gradients that are sums in another order; AdamW's first steps magnify what is near zero.
        torch.testing.assert_close(together.denoiser.state_dict()[name], value, rtol=1e-3, atol=5e-4)
    rows = [(place / name / "curves.csv").read_text().splitlines()[1].split(",")[:-1] for name in runs]
    assert [float(v) for v in rows[1]] == pytest.approx([float(v) for v in rows[0]], rel=1e-3)

    draw = ("sample", "--model", f"{runs[0]}/generator.safetensors", "-n", "5", "--steps", "2")
    folders = [place / f"{name}_drawn" for name in runs]
    for folder, several in zip(folders, (False, True), strict=True):
        ended = _synth(place, *draw, "--cpu", "--threads", "1", "--out", folder.name, several=several)
        assert ended.stdout.count("5 synthetic pictures") == 1
    files = [{p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders]
    assert files[0] == files[1]
    manifest = read_manifest(folders[1])
    assert manifest is not None
    assert manifest.complete
