from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_wheel_carries_the_device_runners_and_their_processing(project_root: Path, tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel; pip install hatchling")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=project_root, check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for inside, outside in (
            ("lawder_edge/runners/onnx/run.py", "export/onnx/run.py"),
            ("lawder_edge/bundle/processing.py", "lawder_edge/bundle/processing.py"),
        ):
            assert archive.read(inside) == (project_root / outside).read_bytes()
