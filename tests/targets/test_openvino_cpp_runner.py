"""run.cpp of OpenVINO bundles, compiled here by g++ as a user compiles it, and with its sanitizers."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino
import pytest
from int8_network import quantized_tiny
from openvino.preprocess import PrePostProcessor
from openvino_cpp import SANITIZED, STRICT, compiler, phantom
from PIL import Image
from target_contract import WEIGHTS, Tiny, randomised, run_on_device

import lawder_edge
from lawder_edge.exporting.export import export_bundle
from lawder_edge.targets.registry import ExportSpec

pytestmark = pytest.mark.slow

RUNTIME = Path(openvino.__file__).parent
# TBB opens its helper with RTLD_DEEPBIND otherwise, which the sanitizer refuses.
ENVIRONMENT = {"PATH": os.environ["PATH"], "TBB_ENABLE_SANITIZERS": "1"}
FIXED = ExportSpec(size=(64, 96))

Run = Callable[..., subprocess.CompletedProcess[str]]


def compile_runner(folder: Path, out: Path, *flags: str) -> Path:
    """The command of run.cpp's head, with warnings as errors."""
    libraries = [str(path) for path in (RUNTIME / "libs").glob("libopenvino.so.*")]
    command = [compiler(), "-std=c++17", *flags, *STRICT, str(folder / "run.cpp"), "-o", str(out), "-isystem"]
    command += [str(RUNTIME / "include"), *libraries, f"-Wl,-rpath,{RUNTIME / 'libs'}", "-lpng"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three bundles: of any size, of one channel and three classes, and int8."""
    folder = tmp_path_factory.mktemp("bundles")
    for name, model, spec in (
        ("any", randomised(Tiny()), ExportSpec()),
        ("organs", randomised(Tiny(in_channels=1, num_classes=3)), replace(FIXED, channels=1, classes=3)),
        ("int8", quantized_tiny(), replace(FIXED, precision="int8")),
    ):
        export_bundle(model, target="openvino", spec=spec, weights_info=WEIGHTS, out=folder / name)
    return folder


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "any", tmp_path / "any")


@pytest.fixture(scope="module")
def run(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The runner as users compile it."""
    return runner_of(compile_runner(made / "any", tmp_path_factory.mktemp("fast") / "run", "-O2"))


@pytest.fixture(scope="module")
def watched(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The runner that ends where it reads or writes outside its memory, leaks, or computes what C++ leaves open."""
    folder = tmp_path_factory.mktemp("watched")
    # TBB's own threads now and then lose 40 bytes as the program ends; none of the runner's code runs in them.
    (folder / "suppressions").write_text("leak:libtbb.so\n")
    options = f"suppressions={folder / 'suppressions'}:print_suppressions=0"
    return runner_of(compile_runner(made / "any", folder / "run", *SANITIZED), LSAN_OPTIONS=options)


def runner_of(program: Path, **environment: str) -> Run:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(program), *map(str, arguments)]
        whole = {**ENVIRONMENT, **environment}
        return subprocess.run(command, capture_output=True, text=True, env=whole, check=False)

    return run


def equal_but_at_the_threshold(mask: npt.NDArray[Any], runner: Any, frame: npt.NDArray[np.uint8]) -> bool:
    """Whether a mask is the package's, but for pixels within 1e-4 of the threshold: exp() rounds in two ways."""
    differs = (mask == 255) != runner.predict_mask(frame)
    return bool((np.abs(runner.predict(frame)[differs] - runner.threshold) <= 1e-4).all())


@pytest.mark.parametrize("name", ["any", "int8"])
@pytest.mark.parametrize("suffix", ["ppm", "png"])
@pytest.mark.parametrize("size", [(123, 201), (255, 47)])
def test_masks_are_those_of_the_package(
    name: str, suffix: str, size: tuple[int, int], made: Path, run: Run, tmp_path: Path
) -> None:
    frame = phantom(*size)
    Image.fromarray(frame).save(tmp_path / f"a.{suffix}")
    done = run("--bundle", made / name, tmp_path / f"a.{suffix}", tmp_path / "mask.pgm")
    assert done.returncode == 0, done.stderr
    mask = np.asarray(Image.open(tmp_path / "mask.pgm"))
    assert mask.shape == frame.shape[:2]
    assert set(np.unique(mask)) == {0, 255}
    assert equal_but_at_the_threshold(mask, lawder_edge.load(made / name), frame)
    header, row = (line.split("\t") for line in done.stdout.splitlines())
    assert header == ["image", "latency_ms", "area_px", "area_percent"]
    assert row[0] == f"a.{suffix}"
    assert float(row[1]) > 0
    assert int(row[2]) == np.count_nonzero(mask)
    assert float(row[3]) == pytest.approx(100 * np.mean(mask == 255), abs=0.006)


def test_several_classes_of_a_grey_network_are_written_as_their_numbers(made: Path, run: Run, tmp_path: Path) -> None:
    frame = phantom(123, 201)
    Image.fromarray(frame).save(tmp_path / "a.ppm")
    done = run("--bundle", made / "organs", tmp_path / "a.ppm", tmp_path / "mask.pgm")
    assert done.returncode == 0, done.stderr
    mask = np.asarray(Image.open(tmp_path / "mask.pgm"))
    classes = lawder_edge.load(made / "organs").predict_classes(frame)
    assert set(np.unique(mask)) == {0, 1, 2}
    first, second = np.sort(classes, axis=0)[:-3:-1]
    assert (first - second)[mask != classes.argmax(axis=0)].max(initial=0) <= 1e-4


def test_a_grey_picture_gives_the_mask_of_its_three_equal_channels(made: Path, run: Run, tmp_path: Path) -> None:
    grey = Image.fromarray(phantom(77, 99)).convert("L")
    grey.save(tmp_path / "grey.pgm")
    grey.convert("RGB").save(tmp_path / "rgb.ppm")
    for name in ("grey.pgm", "rgb.ppm"):
        assert run("--bundle", made / "any", tmp_path / name, tmp_path / f"{name}.mask").returncode == 0
    assert (tmp_path / "grey.pgm.mask").read_bytes() == (tmp_path / "rgb.ppm.mask").read_bytes()


@pytest.mark.parametrize("name", ["any", "organs", "int8"])
def test_the_check_passes_and_says_what_the_python_runner_says(name: str, made: Path, watched: Run) -> None:
    done = watched("--bundle", made / name, "--check")
    assert done.returncode == 0, done.stderr
    rows, expected = (
        [line.split("\t") for line in text.splitlines()]
        for text in (done.stdout, run_on_device(made / name, "--check").stdout)
    )
    assert rows[0] == expected[0]
    assert [row[0] for row in rows[1:]] == ["00", "01"]
    for row, other in zip(rows[1:], expected[1:], strict=True):
        assert row[0] == other[0]
        assert [float(x) for x in row[1:]] == pytest.approx([float(x) for x in other[1:]], abs=1e-4)


def test_the_check_has_the_limits_of_the_python_runner(project_root: Path) -> None:
    program = (project_root / "export" / "openvino" / "run.cpp").read_text()
    python = (project_root / "export" / "shared" / "device.py").read_text()
    ours, theirs = (
        dict(re.findall(r'"(fp32|fp16|int8)"[:,] (0\.\d+)', re.search(pattern, text)[1]))  # type: ignore[index]
        for pattern, text in ((r"kLeastDice = \{(.*)\};", program), (r"LEAST_DICE = \{(.*)\}", python))
    )
    assert ours == theirs
    assert ours.keys() == {"fp32", "fp16", "int8"}


def test_the_program_in_its_bundle_needs_no_name_of_it(bundle: Path, tmp_path: Path) -> None:
    """The lines of run.cpp's head, run by a shell."""
    compiler()
    lines = re.findall(r"^//     (.*)", (bundle / "run.cpp").read_text(), re.M)
    assert [line.split()[0] for line in lines] == [lines[0].split()[0], "g++"]
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-ec", "\n".join([*lines, "cd /", f"'{bundle}/run' --check"])],
        cwd=bundle, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_the_check_fails_with_exit_code_3_where_masks_differ(bundle: Path, watched: Run) -> None:
    path = bundle / "golden" / "01.mask.png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    relist(bundle, "golden/01.mask.png")
    done = watched("--bundle", bundle, "--check")
    assert done.returncode == 3
    assert "wanted at least 0.999: not the same masks here" in done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_an_existing_mask_is_kept_unless_told_otherwise(bundle: Path, watched: Run, tmp_path: Path) -> None:
    Image.fromarray(phantom(60, 80)).save(tmp_path / "a.ppm")
    (tmp_path / "mask.pgm").write_bytes(b"mine")
    done = watched("--bundle", bundle, tmp_path / "a.ppm", tmp_path / "mask.pgm")
    assert done.returncode == 2
    assert "mask.pgm: exists already" in done.stderr
    assert (tmp_path / "mask.pgm").read_bytes() == b"mine"
    done = watched("--bundle", bundle, "--overwrite", "--threads", "1", tmp_path / "a.ppm", tmp_path / "mask.pgm")
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "mask.pgm").size == (80, 60)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "got 0 paths"),
        (("a.ppm",), "got 1 paths"),
        (("--check", "a.ppm"), "got 1 paths"),
        (("--fast", "a.ppm", "b.pgm"), "unknown option --fast"),
        (("--threads",), "--threads wants a value"),
        (("--threads", "two", "a.ppm", "b.pgm"), "--threads wants a whole number from 0 to 9999, got 'two'"),
        (("--bundle", "/nowhere", "--check"), "/nowhere: no manifest.json"),
    ],
)
def test_wrong_arguments_end_with_exit_code_2(arguments: Sequence[str], said: str, watched: Run) -> None:
    done = watched(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""


def test_help_shows_an_example(watched: Run) -> None:
    done = watched("--help")
    assert done.returncode == 0
    assert "for example: run photo.ppm mask.pgm" in done.stdout


PPM = b"P6\n4 2\n255\n" + bytes(range(24))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("truncated", PPM[:-1], "4 x 2 pixels take 24 bytes, got 23"),
        ("two pictures", PPM + PPM, "4 x 2 pixels take 24 bytes, got 59"),
        ("16 bits", PPM.replace(b"255", b"65535"), "samples up to 65535; wanted 8 bits"),
        ("no height", b"P6\n4", "its PNM header is broken"),
        ("a negative width", PPM.replace(b"4", b"-4"), "its PNM header is broken"),
        ("no pixels", b"P6 0 2 255 ", "it has no pixels"),
        ("more pixels than memory", b"P6 999999999 999999999 255\n123", "2999999994000000003 bytes, got 3"),
        ("text", b"P3 1 1 255 1 2 3", "wanted binary PPM, PGM or PNG"),
        ("empty", b"", "wanted binary PPM, PGM or PNG"),
        ("a broken PNG", b"\x89PNG\r\n\x1a\n" + bytes(100), "not an image that can be read"),
        ("beyond the shrink", b"P5 1 300000 255\n" + bytes(300_000), "shrinks by at most 1024"),
    ],
)
def test_a_bad_frame_is_named_and_nothing_is_written(
    name: str, data: bytes, said: str, made: Path, watched: Run, tmp_path: Path
) -> None:
    (tmp_path / "bad").write_bytes(data)
    done = watched("--bundle", made / "any", tmp_path / "bad", tmp_path / "mask.pgm")
    assert done.returncode == 2
    assert f"{tmp_path / 'bad'}: " in done.stderr
    assert said in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["bad"]


@pytest.mark.parametrize("where", ["nowhere.ppm", "."])
def test_a_frame_that_is_no_file_is_named(where: str, made: Path, watched: Run, tmp_path: Path) -> None:
    done = watched("--bundle", made / "any", tmp_path / where, tmp_path / "mask.pgm")
    assert done.returncode == 2
    assert "no such file" in done.stderr


def test_a_mask_that_cannot_be_written_is_named(made: Path, watched: Run, tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(PPM)
    done = watched("--bundle", made / "any", tmp_path / "a.ppm", tmp_path / "nowhere" / "mask.pgm")
    assert done.returncode == 2
    assert "mask.pgm: cannot be written" in done.stderr


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_a_changed_model_file_is_refused(suffix: str, bundle: Path, watched: Run) -> None:
    path = next(bundle.glob(f"*{suffix}"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    done = watched("--bundle", bundle, "--check")
    assert done.returncode == 2
    assert f"{path.name}: changed since the export" in done.stderr
    assert hashlib.sha256(bytes(data)).hexdigest() in done.stderr


def test_a_file_that_is_missing_is_named(bundle: Path, watched: Run) -> None:
    (bundle / "golden" / "00.mask.png").unlink()
    done = watched("--bundle", bundle, "--check")
    assert done.returncode == 2
    assert "golden/00.mask.png: missing; the manifest lists it. Copy the bundle again." in done.stderr


def drop(*keys: Any) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        for key in keys[:-1]:
            manifest = manifest[key]
        del manifest[keys[-1]]

    return change


def put(value: object, *keys: Any) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        for key in keys[:-1]:
            manifest = manifest[key]
        manifest[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop("threshold"), "key 'threshold' is missing"),
        (drop("input", "height"), "key 'input.height' is missing"),
        (drop("output"), "key 'output' is missing"),
        (drop("files", 0, "sha256"), "key 'files[].sha256' is missing"),
        (put("mask", "output", "kind"), "key 'output.kind' is 'mask', this run.cpp knows 'logits', 'probabilities'"),
        (put("NHWC", "input", "layout"), "key 'input.layout' is 'NHWC'"),
        (put("rgb", "input", "range"), "key 'input.range' is 'rgb'"),
        (put(2, "input", "resize_version"), "key 'input.resize_version' wants"),
        (put(2, "input", "channels"), "key 'input.channels' wants 1 or 3"),
        (put("256", "input", "width"), "key 'input.width' wants a whole number from 1 to 65535"),
        (put(256.5, "input", "width"), "key 'input.width' wants a whole number"),
        (put(1.5, "threshold"), "key 'threshold' wants a number between 0 and 1"),
        (put("0.5", "threshold"), "key 'threshold' wants a number"),
        (put({}, "files"), "key 'files' wants a list"),
        (put(["a"], "files"), "wants an object"),
        (put("../outside.xml", "files", 0, "name"), "no name inside the bundle"),
        (put("/etc/hostname", "files", 0, "name"), "no name inside the bundle"),
        (put("golden/../run.py", "files", 0, "name"), "no name inside the bundle"),
        (put("outside.xml", "model_file"), "does not list 'outside.xml'"),
        (put(3, "schema_version"), "has schema_version 3, this run.cpp reads 2"),
        (put("int4", "precision"), "key 'precision' is 'int4'"),
        # The network itself tells otherwise.
        (put(1, "input", "channels"), "takes [1,3,?,?], the manifest says [1,1,256,256]"),
        (put(3, "output", "classes"), "gives [1,1,256,256], the manifest says [1,3,256,256]"),
    ],
)
def test_a_manifest_that_cannot_be_followed_is_refused_by_the_key(
    change: Callable[[dict[str, Any]], None], said: str, bundle: Path, watched: Run
) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    change(manifest)
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    done = watched("--bundle", bundle, "--check")
    assert done.returncode == 2
    assert said in done.stderr


def relist(folder: Path, name: str) -> None:
    """Write the file's hash into the manifest, as an export of another version would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = next(f for f in manifest["files"] if f["name"] == name)
    entry["sha256"] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_network_of_other_numbers_is_refused(bundle: Path, made: Path, watched: Run) -> None:
    path = next(bundle.glob("*.xml"))
    # From the other copy: OpenVINO maps the weights into memory, so that they cannot be written over.
    steps = PrePostProcessor(openvino.Core().read_model(str(made / "any" / path.name)))
    steps.input().tensor().set_element_type(openvino.Type.u8)
    openvino.save_model(steps.build(), str(path))
    for changed in (path, path.with_suffix(".bin")):
        relist(bundle, changed.name)
    done = watched("--bundle", bundle, "--check")
    assert done.returncode == 2
    assert f"{path.name}: takes u8 and gives f32, this run.cpp knows f32 for both" in done.stderr


def test_what_openvino_refuses_is_told(bundle: Path, run: Run) -> None:
    # Not under the sanitizers: OpenVINO tries its other frontends, one of which leaks 8 bytes and is unloaded.
    path = next(bundle.glob("*.xml"))
    path.write_bytes(b"<net/>")
    relist(bundle, path.name)
    done = run("--bundle", bundle, "--check")
    assert done.returncode == 2
    assert f"{path.name}: OpenVINO" in done.stderr
    assert "refuses it" in done.stderr


def test_an_openvino_without_its_cpu_plugin_ends_with_exit_code_4(bundle: Path, tmp_path: Path) -> None:
    program = compile_runner(bundle, bundle / "run", "-O0")
    for path in (RUNTIME / "libs").iterdir():
        if path.name.startswith(("libopenvino.so", "libtbb", "libhwloc")):
            shutil.copy(path, tmp_path)
    environment = {**ENVIRONMENT, "LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run([str(program), "--check"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    assert "finds no CPU plugin" in done.stderr
