from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import lawder_edge
from lawder_edge.errors import BadBundle

HEAVY = ("torch", "numpy", "onnx", "onnxruntime", "cv2")


def modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not modules_after("import lawder_edge; lawder_edge.load; lawder_edge.__version__") & set(HEAVY)


def test_listing_the_targets_imports_neither_exporter_nor_runtime() -> None:
    loaded = modules_after(
        "from lawder_edge.targets.registry import targets\n"
        "for target in targets().values(): target.missing(target.to_export + target.to_run)"
    )
    assert not loaded & {"torch", "onnx", "onnxscript", "onnxruntime"}


def test_the_lists_of_the_carried_weights_are_read_without_torch() -> None:
    loaded = modules_after(
        "from lawder_edge.training.record import read_header, read_record\n"
        "from lawder_edge.weights import bundled_weights\n"
        "path = bundled_weights('order')\n"
        "assert read_record(path, read_header(path)).trained_on().ids"
    )
    assert "torch" not in loaded


def test_loading_what_is_no_bundle_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadBundle, match="no such folder"):
        lawder_edge.load(str(tmp_path / "nowhere"))


def test_the_device_runners_stand_inside_the_package(project_root: Path) -> None:
    scripts = sorted((project_root / "export").glob("*/*.py"))
    assert {f"{s.parent.name}/{s.name}" for s in scripts} >= {"shared/run.py", "shared/device.py", "onnx/network.py"}
    for script in scripts:
        inside = project_root / "lawder_edge" / "runners" / script.parent.name / script.name
        assert inside.read_bytes() == script.read_bytes()
