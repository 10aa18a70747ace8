from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from target_contract import ABSENT, WEIGHTS, Tiny, randomised, run_on_device

import lawder_edge
from lawder_edge.bundle.manifest import InputType, OutputKind
from lawder_edge.data.images import read_image
from lawder_edge.exporting.export import export_bundle
from lawder_edge.targets.registry import ExportSpec


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("device") / "tiny"
    export_bundle(randomised(Tiny()), target="onnx", spec=ExportSpec(size=(64, 96)), weights_info=WEIGHTS, out=out)
    return out


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "tiny")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, size in (("a.png", (90, 120)), ("b.jpg", (64, 50))):
        pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def module_of(bundle: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("device_run", bundle / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["device_run"] = module
    spec.loader.exec_module(module)
    return module


def device_of(bundle: Path) -> ModuleType:
    """What all runners share, as this bundle's run.py has loaded it."""
    shared: ModuleType = module_of(bundle).device
    return shared


def main(bundle: Path, *arguments: object) -> int:
    code: int = module_of(bundle).main([str(a) for a in arguments])
    return code


def test_masks_are_those_of_the_package_and_times_and_areas_are_printed(
    bundle: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(bundle, photos, "--out", tmp_path / "out") == 0
    runner = lawder_edge.load(bundle)
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["image", "latency_ms", "area_px", "area_percent"]
    for row, name in zip(rows[1:], ("a.png", "b.jpg"), strict=True):
        frame = read_image(photos / name)
        mask = np.asarray(Image.open(tmp_path / "out" / f"{name[0]}_mask.png"))
        overlay = np.asarray(Image.open(tmp_path / "out" / f"{name[0]}_overlay.png"))
        np.testing.assert_array_equal(mask, runner.predict_mask(frame) * np.uint8(255))
        assert overlay.shape == frame.shape
        assert row[0] == name
        assert float(row[1]) > 0
        assert int(row[2]) == np.count_nonzero(mask)
        assert float(row[3]) == pytest.approx(100 * np.mean(mask == 255), abs=0.006)


@pytest.mark.parametrize(
    ("output", "taken", "classes"),
    [("probabilities", "uint8", 1), ("probabilities", "int8", 3), ("mask", "uint8", 1), ("mask", "float32", 3)],
)
def test_masks_are_those_of_the_package_whatever_the_file_takes_and_gives(
    output: OutputKind, taken: InputType, classes: int, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = export_bundle(
        randomised(Tiny(num_classes=classes)),
        target="onnx",
        spec=ExportSpec(size=(64, 96), classes=classes, output=output, input_type=taken),
        weights_info=WEIGHTS,
        out=tmp_path / "tiny",
    ).path
    assert main(bundle, photos, "--out", tmp_path / "out") == 0
    runner = lawder_edge.load(bundle)
    for name in ("a.png", "b.jpg"):
        labels = runner.predict_labels(read_image(photos / name))
        mask = np.asarray(Image.open(tmp_path / "out" / f"{name[0]}_mask.png"))
        np.testing.assert_array_equal(mask, labels if classes > 1 else labels * np.uint8(255))
        assert labels.any()
    capsys.readouterr()
    assert main(bundle, "--check") == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()[1:]]
    assert all((row[2] == "none") == (output == "mask") for row in rows)
    assert bool(list((bundle / "golden").glob("*.probability.png"))) == (output != "mask")


def test_existing_results_are_kept_unless_told_otherwise(
    bundle: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "b_mask.png").write_bytes(b"mine")
    assert main(bundle, photos, "--out", out) == 2
    assert "b_mask.png: exists already" in capsys.readouterr().err
    assert [p.name for p in out.iterdir()] == ["b_mask.png"]
    assert main(bundle, photos, "--out", out, "--overwrite") == 0
    assert (out / "b_mask.png").read_bytes() != b"mine"
    assert len(list(out.iterdir())) == 4


def test_a_bad_image_is_named_and_the_others_go_on(
    bundle: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "broken.png").write_bytes((photos / "a.png").read_bytes()[:500])
    (photos / "empty.png").write_bytes(b"")
    assert main(bundle, photos, "--out", tmp_path / "out") == 2
    said = capsys.readouterr()
    assert "broken.png: not an image" in said.err
    assert "empty.png: not an image" in said.err
    assert len(said.out.splitlines()) == 3
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_two_images_of_one_stem_keep_their_suffix(bundle: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "b.jpg", photos / "a.jpg")
    assert main(bundle, photos, "--out", tmp_path / "out") == 0
    names = {p.name for p in (tmp_path / "out").glob("*_mask.png")}
    assert names == {"a.png_mask.png", "a.jpg_mask.png", "b_mask.png"}


@pytest.mark.parametrize("what", ["nowhere", "empty"])
def test_input_without_images_is_named(
    what: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(bundle, tmp_path / what, "--out", tmp_path / "out") == 2
    assert what in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_one_image_given_twice_is_told(
    bundle: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(bundle, photos / "a.png", photos / "a.png", "--out", tmp_path / "out") == 2
    assert "several images are called a.png" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [(), ("a.png",), ("--out", "x")])
def test_missing_arguments_end_with_exit_code_2(bundle: Path, arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(bundle, *arguments)
    assert caught.value.code == 2


def test_help_executes_nothing_of_the_bundle_but_reads_what_it_needs(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle / "network.py").write_text('"""Needs a runtime."""\nraise SystemExit("was executed")')
    with pytest.raises(SystemExit) as caught:
        main(bundle, "--help")
    assert caught.value.code == 0
    assert "Needs a runtime." in capsys.readouterr().out


@pytest.mark.parametrize("text", [b"", b"\xff\0", b"def ("])
def test_a_damaged_network_is_told_as_a_changed_file(
    text: bytes, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle / "network.py").write_bytes(text)
    assert main(bundle, "--check") == 2
    assert "network.py: changed since the export" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tiny.onnx", "processing.py", "network.py", "golden/00.frame.png"])
def test_a_changed_file_is_refused_before_anything_runs(
    name: str, bundle: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next(bundle.glob("*.onnx")) if name == "tiny.onnx" else bundle / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert main(bundle, photos, "--out", tmp_path / "out") == 2
    assert f"{path.name}: changed since the export" in capsys.readouterr().err


def edit_manifest(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    change(manifest)
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def unlist(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda m: m.update(files=[f for f in m["files"] if f["name"] != name])


def relist(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda m: m["files"][0].update(name=name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(model_file="../outside.onnx", files=[]), "does not list '../outside.onnx'"),
        (unlist("processing.py"), "does not list 'processing.py'"),
        (unlist("network.py"), "does not list 'network.py'"),
        (unlist("tests_Tiny-onnx-fp32.onnx"), "does not list 'tests_Tiny-onnx-fp32.onnx'"),
        (relist("../outside.onnx"), "no name inside the bundle"),
        (relist("/etc/hostname"), "no name inside the bundle"),
        (relist("C:outside.onnx"), "no name inside the bundle"),
        (relist("..\\outside.onnx"), "no name inside the bundle"),
        (relist(""), "no name inside the bundle"),
        (relist("golden/../run.py"), "no name inside the bundle"),
        (lambda m: m.update(schema_version=3), "schema_version 3, this run.py reads 2"),
    ],
)
def test_nothing_is_opened_or_executed_that_was_not_compared_with_the_manifest(
    change: Callable[[dict[str, Any]], object],
    said: str,
    bundle: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(next(bundle.glob("*.onnx")), tmp_path / "outside.onnx")
    for name in ("processing.py", "network.py"):
        (bundle / name).write_text("raise SystemExit('was executed')")
    edit_manifest(bundle, change)
    assert main(bundle, photos, "--out", tmp_path / "out") == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{}", "[]"])
def test_a_manifest_that_is_none_is_told(
    text: str, bundle: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle / "manifest.json").write_text(text)
    assert main(bundle, photos, "--out", tmp_path / "out") == 2
    assert "not a whole bundle" in capsys.readouterr().err


def test_the_check_fails_with_exit_code_3_where_masks_differ(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = module_of(bundle)
    model = runner.open_model()
    monkeypatch.setattr(type(model), "labels", lambda self, frame: np.zeros(frame.shape[:2], np.uint8))
    assert runner.device.check(model, bundle / "golden") == 3
    assert "not the same masks here" in capsys.readouterr().err


def test_hidden_files_of_a_folder_are_no_images(bundle: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "._a.png").write_bytes(b"left by another system")
    assert main(bundle, photos, "--out", tmp_path / "out") == 0


def test_names_of_many_images_are_planned_in_one_pass(bundle: Path, tmp_path: Path) -> None:
    class Counted(type(tmp_path)):  # type: ignore[misc]
        compared = 0

        @property
        def stem(self) -> str:
            Counted.compared += 1
            return str(super().stem)

    images = [Counted(tmp_path / f"{n}.png") for n in range(300)]
    planned = device_of(bundle).plan_outputs(images, tmp_path / "out", overwrite=False)
    assert len(set(planned)) == 300
    assert Counted.compared <= 4 * len(images)


@pytest.fixture(scope="module")
def organs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a background and two classes."""
    out = tmp_path_factory.mktemp("device") / "organs"
    spec = ExportSpec(size=(64, 96), classes=3)
    export_bundle(randomised(Tiny(num_classes=3)), target="onnx", spec=spec, weights_info=WEIGHTS, out=out)
    return out


def test_several_classes_are_written_as_their_numbers(organs: Path, photos: Path, tmp_path: Path) -> None:
    assert main(organs, photos / "a.png", "--out", tmp_path / "out") == 0
    mask = np.asarray(Image.open(tmp_path / "out" / "a_mask.png"))
    frame = read_image(photos / "a.png")
    classes = lawder_edge.load(organs).predict_classes(frame)
    np.testing.assert_array_equal(mask, classes.argmax(axis=0))
    assert set(np.unique(mask)) == {0, 1, 2}
    overlay = np.asarray(Image.open(tmp_path / "out" / "a_overlay.png"))
    changed = (overlay != frame).any(axis=2)
    assert changed.any()
    assert not changed[mask == 0].any()


def test_the_check_compares_classes(organs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(organs, "--check") == 0
    runner = module_of(organs)
    model = runner.open_model()
    found = model.labels
    model.labels = lambda frame: np.choose(found(frame), [0, 2, 1]).astype(np.uint8)
    assert runner.device.check(model, organs / "golden") == 3


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L", "I;16"])
def test_opencv_reads_what_pillow_reads(
    mode: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (20, 30, 4), np.uint8), "RGBA")
    if mode == "I;16":
        picture = Image.fromarray(rng.integers(0, 65536, (20, 30), np.uint16))
    elif mode == "P":
        picture = picture.quantize(16)
        picture.info["transparency"] = 3
    else:
        picture = picture.convert(mode)
    path = tmp_path / "a.png"
    picture.save(path, **({"transparency": 3} if mode == "P" else {}))
    expected = read_image(path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    np.testing.assert_array_equal(device_of(bundle).read_image(path), expected)


@pytest.mark.parametrize("orientation", [3, 6])
def test_opencv_turns_a_photo_upright_or_says_that_it_cannot(
    orientation: int, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for mode, channels in (("opaque", 3), ("transparent", 4)):
        picture = Image.fromarray(rng.integers(0, 256, (20, 30, channels), np.uint8))
        picture.save(tmp_path / f"{mode}.png", exif=exif)
    expected = read_image(tmp_path / "opaque.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    module = device_of(bundle)
    np.testing.assert_array_equal(module.read_image(tmp_path / "opaque.png"), expected)
    with pytest.raises(module.Failure, match="needs Pillow"):
        module.read_image(tmp_path / "transparent.png")


def test_samples_without_a_range_are_refused(bundle: Path, tmp_path: Path) -> None:
    module = device_of(bundle)
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "f.tif")
    Image.fromarray(np.full((4, 4), 1 << 20, np.int32)).save(tmp_path / "i.tif")
    for name, said in (("f.tif", "floating point"), ("i.tif", "32-bit")):
        with pytest.raises(module.Failure, match=said):
            module.read_image(tmp_path / name)


def test_opencv_alone_is_enough_and_gives_the_same_masks(bundle: Path, photos: Path, tmp_path: Path) -> None:
    photo = photos / "a.png"
    with_opencv = tuple(name for name in ABSENT if name != "cv2")
    for out, absent in (("pillow", ABSENT), ("opencv", ("PIL", *with_opencv))):
        done = run_on_device(bundle, str(photo), "--out", str(tmp_path / out), absent=absent)
        assert done.returncode == 0, done.stderr
    for name in ("a_mask.png", "a_overlay.png"):
        np.testing.assert_array_equal(read_image(tmp_path / "pillow" / name), read_image(tmp_path / "opencv" / name))
    assert run_on_device(bundle, "--check", absent=("PIL", *with_opencv)).returncode == 0


@pytest.mark.parametrize(
    ("absent", "said"),
    [(("onnxruntime",), "onnxruntime is missing"), (("PIL", "cv2"), "neither Pillow nor OpenCV")],
)
def test_a_missing_package_ends_with_exit_code_4(
    absent: tuple[str, ...], said: str, bundle: Path, photos: Path, tmp_path: Path
) -> None:
    done = run_on_device(bundle, str(photos), "--out", str(tmp_path / "out"), absent=absent)
    assert done.returncode == 4
    assert said in done.stderr


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "I;16", "LA", "1"])
def test_images_of_every_mode_are_read_as_the_package_reads_them(mode: str, bundle: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    if mode == "I;16":
        picture = Image.fromarray(rng.integers(0, 65536, (20, 30), np.uint16))
    else:
        picture = Image.fromarray(rng.integers(0, 256, (20, 30, 4), np.uint8), "RGBA")
        picture = picture if mode == "RGBA" else picture.convert("RGB" if mode == "CMYK" else "RGBA").convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    picture.save(path)
    np.testing.assert_array_equal(device_of(bundle).read_image(path), read_image(path))


def test_a_rotated_photo_is_turned_upright_as_the_package_does(bundle: Path, tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.png", exif=exif)
    found = device_of(bundle).read_image(tmp_path / "a.png")
    assert found.shape == (30, 20, 3)
    np.testing.assert_array_equal(found, read_image(tmp_path / "a.png"))
