from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
CARRIED = (
    ("lawder_edge/runners/shared/run.py", "export/shared/run.py"),
    ("lawder_edge/runners/onnx/network.py", "export/onnx/network.py"),
    ("lawder_edge/targets/c/kernels/lawder_kernels.h", "lawder_edge/targets/c/kernels/lawder_kernels.h"),
    ("lawder_edge/runners/c/main.c", "export/c/main.c"),
    ("lawder_edge/bundle/processing.py", "lawder_edge/bundle/processing.py"),
    ("lawder_edge/models/weights/order.safetensors", "lawder_edge/models/weights/order.safetensors"),
    ("lawder_edge/synthesis/weights/polyp128.safetensors", "lawder_edge/synthesis/weights/polyp128.safetensors"),
)


def build(source: Path, kind: str, out: Path) -> Path:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel; pip install hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(out)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (made,) = out.iterdir()
    return made


def test_the_wheel_carries_the_device_runners_and_their_processing(project_root: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(build(project_root, "wheel", tmp_path / "wheel")) as archive:
        for inside, outside in CARRIED:
            assert archive.read(inside) == (project_root / outside).read_bytes()
        assert not [name for name in archive.namelist() if name.startswith("export/")]


def test_a_wheel_made_from_the_source_archive_holds_the_same_files(project_root: Path, tmp_path: Path) -> None:
    with tarfile.open(build(project_root, "sdist", tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    direct, detour = (
        zipfile.ZipFile(build(root, "wheel", tmp_path / name))
        for root, name in ((project_root, "direct"), (source, "detour"))
    )
    with direct, detour:
        for inside, outside in CARRIED:
            assert detour.read(inside) == (project_root / outside).read_bytes()
        assert sorted(detour.namelist()) == sorted(direct.namelist())


def test_an_editable_install_points_at_the_tree_and_copies_nothing(project_root: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(build(project_root, "wheel:editable", tmp_path / "editable")) as archive:
        (link,) = [name for name in archive.namelist() if name.endswith(".pth")]
        assert archive.read(link).decode().strip() == str(project_root)
        assert not [name for name in archive.namelist() if name.startswith("lawder_edge/")]
    assert (project_root / "lawder_edge" / "runners" / "onnx" / "network.py").is_file()
