"""Which network an example measures: what is asked for, made of what is there, and exported again when that changes.

By what make would do (`-n`): nothing is exported or compiled.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLES = {"cortex_m": "board", "riscv": "run", "linux": "run", "cmsis_nn": "network"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """OUT of the examples' makefiles with the bundle of size 64 and its frames, as they are after a run."""
    if shutil.which("make") is None:
        pytest.skip("no make here; sh firmware_examples/install.sh")
    made(tmp_path / "bundle-64", tmp_path / "frames-64")
    return tmp_path


def made(bundle: Path, frames: Path) -> None:
    """Makes empty ones. make goes by times of files: frames are newer than their bundle."""
    for file in (bundle / "manifest.json", frames / "frames.h"):
        file.parent.mkdir()
        file.touch()
    os.utime(bundle / "manifest.json", ns=(0, (frames / "frames.h").stat().st_mtime_ns - 1))


def steps(example: str, root: Path, out: Path, *words: str) -> str:
    """What make would run."""
    command = ["make", "-n", "-C", str(root / "firmware_examples" / example), EXAMPLES[example], "SIZE=64"]
    done = subprocess.run([*command, f"OUT={out}", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.replace("\\\n", "")


def exported_to(said: str) -> str:
    """The folder of the one bundle that would be exported, of which frames and program are made."""
    found = re.findall(r"lawder_edge export .* --out (\S+)", said)
    assert len(found) == 1, said
    assert found[0] in "".join(line for line in said.splitlines() if "gcc " in line)
    assert f"frames.py {found[0]} " in said
    return str(found[0])


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_bundle_that_is_there_is_not_exported_again(example: str, out: Path, project_root: Path) -> None:
    said = steps(example, project_root, out)
    assert "lawder_edge export" not in said
    assert "frames.py" not in said


@pytest.mark.parametrize("example", EXAMPLES)
def test_another_budget_or_other_weights_are_another_bundle(example: str, out: Path, project_root: Path) -> None:
    """Also where the bundle of the size is there already."""
    budget = steps(example, project_root, out, "RAM=20K")
    assert " --ram 20K " in budget
    weights = steps(example, project_root, out, "MODEL=order")
    assert " --model order " in weights
    both = steps(example, project_root, out, "RAM=20K", "MODEL=order")
    folders = [exported_to(said) for said in (budget, weights, both)]
    assert len({str(out / "bundle-64"), *folders}) == 4


def test_programs_of_two_networks_have_two_names(out: Path, project_root: Path) -> None:
    names = {re.findall(r"\S+\.elf", steps("cortex_m", project_root, out, *words))[0] for words in ((), ("RAM=20K",))}
    assert len(names) == 2


def test_checkpoints_of_one_name_in_two_folders_are_two_bundles(out: Path, project_root: Path) -> None:
    paths = [out / folder / "best.safetensors" for folder in ("first", "second")]
    assert len({exported_to(steps("cortex_m", project_root, out, f"MODEL={path}")) for path in paths}) == 2


@pytest.mark.parametrize(
    "changed",
    [
        "lawder_edge/models/weights/order_64_int8.safetensors",
        "lawder_edge/models/order.py",
        "lawder_edge/quantization/network.py",
        "lawder_edge/graph/lower.py",
        "lawder_edge/targets/nhwc.py",
        "lawder_edge/targets/c/kernels/lawder_dsp.c",
        "lawder_edge/bundle/store.py",
        "lawder_edge/exporting/outcome.py",
        "export/c/main.c",
    ],
)
def test_what_a_bundle_is_made_of_exports_it_again(changed: str, out: Path, project_root: Path) -> None:
    assert (project_root / changed).is_file()
    said = steps("cortex_m", project_root, out, "-W", str(project_root / changed))
    assert exported_to(said) == str(out / "bundle-64")


@pytest.mark.parametrize("prefix", ["", "package.module:Class="])
def test_a_checkpoint_that_changed_is_exported_again(prefix: str, out: Path, project_root: Path) -> None:
    checkpoint = out / "best.safetensors"
    checkpoint.touch()
    words = (f"MODEL={prefix}{checkpoint}",)
    bundle = Path(exported_to(steps("cortex_m", project_root, out, *words)))
    made(bundle, bundle.with_name(bundle.name.replace("bundle", "frames")))
    assert "lawder_edge export" not in steps("cortex_m", project_root, out, *words)
    assert exported_to(steps("cortex_m", project_root, out, *words, "-W", str(checkpoint))) == str(bundle)
