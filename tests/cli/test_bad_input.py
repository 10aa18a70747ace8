"""Bad input gets one clear line and exit code 2, and nothing that stood on disk is lost."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_calls import BRIEF, blob, call_cli, done, refused, scene
from PIL import Image

from lawder_edge.training.checkpoint import read_weights, write_weights

Command = Callable[[Path], list[object]]


def _everything_below(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def verbs_on(tmp_path: Path, checkpoint: Path, bundle: Path) -> dict[str, Command]:
    """The verbs that read a folder of pairs."""
    return {
        "train": lambda data: ["train", "--data", data, "--out", tmp_path / "run", *BRIEF],
        "eval": lambda data: ["eval", "--data", data, "--model", checkpoint, "--threads", 1],
        "verify": lambda data: ["verify", bundle, "--data", data, "--model", checkpoint, "--threads", 1],
        "export": lambda data: ["export", "-t", "onnx", "--out", tmp_path / "b", "--model", checkpoint, "--data", data],
    }


# What names alone tell is told before any work is done; what pixels tell, as they are read.
VERBS = ("train", "eval", "verify", "export")
READERS = ("train", "eval", "verify")


@pytest.mark.parametrize("verb", VERBS)
def test_images_without_masks_are_told_with_the_layout_that_was_wanted(
    verb: str, pairs: Path, tmp_path: Path, verbs_on: dict[str, Command]
) -> None:
    shutil.rmtree(pairs / "masks")
    refused(call_cli(verbs_on[verb](pairs)), str(pairs), "8 images but no masks", "images/ and masks/")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["polyps"]


def test_the_check_finds_images_without_masks(pairs: Path) -> None:
    shutil.rmtree(pairs / "masks")
    said = call_cli(["data", "check", pairs])
    assert said.code == 2
    assert "error: polyps: 8 images but no masks" in said.out


@pytest.mark.parametrize("verb", READERS)
def test_an_image_and_a_mask_that_differ_in_size_are_named_with_both_sizes(
    verb: str, pairs: Path, verbs_on: dict[str, Command]
) -> None:
    Image.fromarray(blob(height=50)).save(pairs / "masks" / "p3.png")
    refused(call_cli(verbs_on[verb](pairs)), "polyps/p3", "48x40", "48x50", "--skip-bad")


@pytest.mark.parametrize("verb", READERS)
@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_truncated_file_is_named(verb: str, kind: str, pairs: Path, verbs_on: dict[str, Command]) -> None:
    file = pairs / kind / "p5.png"
    file.write_bytes(file.read_bytes()[:-30])
    refused(call_cli(verbs_on[verb](pairs)), str(file), "truncated or damaged")


@pytest.mark.parametrize("verb", READERS)
def test_an_empty_file_is_named(verb: str, pairs: Path, verbs_on: dict[str, Command]) -> None:
    (pairs / "images" / "p2.png").write_bytes(b"")
    refused(call_cli(verbs_on[verb](pairs)), "p2.png", "0 bytes")


def test_the_check_tells_of_all_bad_files_at_once(pairs: Path) -> None:
    (pairs / "images" / "p2.png").write_bytes(b"")
    (pairs / "masks" / "p4.png").write_bytes(b"no picture")
    Image.fromarray(blob(height=50)).save(pairs / "masks" / "p3.png")
    said = call_cli(["data", "check", pairs, "--format", "json"])
    assert said.code == 2
    errors = [f for f in json.loads(said.out)["findings"] if f["severity"] == "error"]
    assert sorted(i for f in errors for i in f["items"]) == ["polyps/p2", "polyps/p3", "polyps/p4"]


@pytest.mark.parametrize("verb", ["train", "eval"])
def test_bad_files_can_be_left_out_and_are_counted(verb: str, pairs: Path, verbs_on: dict[str, Command]) -> None:
    (pairs / "images" / "p2.png").write_bytes(b"")
    Image.fromarray(blob(height=50)).save(pairs / "masks" / "p3.png")
    said = done([*verbs_on[verb](pairs), "--skip-bad"])
    assert "left out polyps/p2" in said.err
    assert "left out polyps/p3" in said.err
    assert "2 of 8" in said.err


def test_pairs_of_which_none_can_be_read_are_refused(pairs: Path, verbs_on: dict[str, Command]) -> None:
    for file in (pairs / "images").iterdir():
        file.write_bytes(b"")
    refused(call_cli([*verbs_on["eval"](pairs), "--skip-bad"]), "no image to evaluate")
    refused(call_cli([*verbs_on["train"](pairs), "--skip-bad"]), "none of the")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six images of four sizes, one of them truncated and one empty."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, (height, width) in enumerate([(40, 48), (33, 97), (64, 64), (250, 131)]):
        Image.fromarray(scene(i, height=height, width=width)).save(folder / f"a{i}.jpg")
    (folder / "b.jpg").write_bytes((folder / "a0.jpg").read_bytes()[:500])
    (folder / "c.jpg").write_bytes(b"")
    return folder


def test_prediction_names_an_image_that_cannot_be_read(photos: Path, checkpoint: Path, tmp_path: Path) -> None:
    for name, reason in (("b.jpg", "truncated or damaged"), ("c.jpg", "0 bytes")):
        said = call_cli(["predict", photos / name, "-m", checkpoint, "--out", tmp_path / "out"])
        refused(said, str(photos / name), reason)


def test_prediction_leaves_bad_images_out_and_counts_them(photos: Path, checkpoint: Path, tmp_path: Path) -> None:
    said = done(["predict", photos, "-m", checkpoint, "--out", tmp_path / "out", "--skip-bad"])
    assert "2 of 6 images left out" in said.err
    assert len(list((tmp_path / "out").glob("*_mask.png"))) == 4


def test_prediction_without_a_single_readable_image_is_bad_input(
    photos: Path, checkpoint: Path, tmp_path: Path
) -> None:
    said = call_cli(["predict", photos / "c.jpg", "-m", checkpoint, "--out", tmp_path / "out", "--skip-bad"])
    assert said.code == 2
    assert "1 of 1 images left out" in said.err


@pytest.mark.parametrize("kind", ["16-bit", "CMYK", "RGBA", "grey", "1-bit", "palette"])
def test_every_kind_of_image_gives_a_mask_of_its_size(kind: str, checkpoint: Path, tmp_path: Path) -> None:
    rgb = Image.fromarray(scene(0, height=37, width=61))
    wide = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257)
    pictures = {
        "16-bit": wide, "CMYK": rgb.convert("CMYK"), "RGBA": rgb.convert("RGBA"), "grey": rgb.convert("L"),
        "1-bit": rgb.convert("1"), "palette": rgb.convert("P"),
    }  # fmt: skip
    file = tmp_path / ("x.tif" if kind == "CMYK" else "x.png")
    pictures[kind].save(file)
    done(["predict", file, "-m", checkpoint, "--out", tmp_path / "out"])
    assert Image.open(tmp_path / "out" / "x_mask.png").size == (61, 37)
    assert Image.open(tmp_path / "out" / "x_overlay.png").mode == "RGB"


def test_two_images_of_one_stem_are_not_written_over_each_other(photos: Path, checkpoint: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "a1.jpg", photos / "a0.png")
    said = call_cli(["predict", photos, "-m", checkpoint, "--out", tmp_path / "out", "--overwrite", "--skip-bad"])
    refused(said, "a0.jpg", "a0.png", "Rename")
    assert not (tmp_path / "out").exists()


def _colour_and_noise(pairs: Path) -> None:
    """p0's mask in red, p1's with JPEG noise."""
    red = np.zeros((40, 48, 3), np.uint8)
    red[..., 0] = blob()
    Image.fromarray(red).save(pairs / "masks" / "p0.png")
    (pairs / "masks" / "p1.png").unlink()
    Image.fromarray(blob()).save(pairs / "masks" / "p1.jpg", quality=60)


def test_the_check_warns_of_masks_with_colours_or_jpeg_noise(pairs: Path) -> None:
    _colour_and_noise(pairs)
    said = done(["data", "check", pairs])
    assert "warn: polyps: 1 masks to interpret, such as polyps/p0: colours in 480 pixels" in said.out
    assert "polyps/p1" in said.out
    assert "thresholded at 128" in said.out


@pytest.mark.parametrize("verb", ["train", "eval"])
def test_masks_with_colours_or_jpeg_noise_are_thresholded_and_told(
    verb: str, pairs: Path, verbs_on: dict[str, Command]
) -> None:
    _colour_and_noise(pairs)
    said = done(verbs_on[verb](pairs))
    assert "2 masks had to be interpreted" in said.err
    assert "polyps/p0: colours" in said.err
    assert "thresholded at 128" in said.err


def test_a_thresholded_mask_is_the_mask_that_was_meant(pairs: Path, verbs_on: dict[str, Command]) -> None:
    clean = done([*verbs_on["eval"](pairs), "--format", "json"])
    _colour_and_noise(pairs)
    noisy = done([*verbs_on["eval"](pairs), "--format", "json"])
    assert json.loads(noisy.out)["dice"] == json.loads(clean.out)["dice"]


@pytest.mark.parametrize("verb", VERBS)
def test_an_empty_split_is_refused(verb: str, pairs: Path, tmp_path: Path, verbs_on: dict[str, Command]) -> None:
    split = tmp_path / "none.txt"
    split.write_text("# nothing yet\n\n")
    refused(call_cli([*verbs_on[verb](pairs), "--split", split]), str(split), "the split is empty")


@pytest.mark.parametrize("verb", VERBS)
def test_a_split_of_other_data_is_refused_with_the_folders_that_are_there(
    verb: str, pairs: Path, tmp_path: Path, verbs_on: dict[str, Command]
) -> None:
    split = tmp_path / "other.txt"
    split.write_text("polyps/p1\nkvasir/cju1\n")
    refused(call_cli([*verbs_on[verb](pairs), "--split", split]), "kvasir/cju1", "Folders found: polyps")


@pytest.mark.parametrize(
    ("size", "nearest"), [((250, 250), "224x224 or 256x256"), ((256, 100), "256x96 or 256x128"), ((0, 32), "32x32")]
)
def test_a_size_that_no_network_can_halve_is_refused_with_the_nearest_that_are(
    size: tuple[int, int], nearest: str, checkpoint: Path, tmp_path: Path
) -> None:
    said = call_cli(["export", "-t", "onnx", "-m", checkpoint, "--out", tmp_path / "b", "--size", *size])
    refused(said, f"{size[0]}x{size[1]}", "multiples of 32", nearest)
    assert list(tmp_path.iterdir()) == []


def _uses(model: object, pairs: Path, out: Path) -> list[list[object]]:
    """The verbs that take a checkpoint."""
    return [
        ["eval", "--model", model, "--data", pairs],
        ["predict", pairs / "images", "--model", model, "--out", out],
        ["export", "--target", "onnx", "--model", model, "--out", out],
    ]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda b: b[:5000], "not a complete safetensors file"),
        (lambda b: b[: len(b) // 2], "not a complete safetensors file"),
        (lambda b: b"", "not a complete safetensors file"),
        (lambda b: b"\xff" * 8 + b[8:], "not a complete safetensors file"),
        (lambda b: b[:-100] + bytes([b[-100] ^ 1]) + b[-99:], "damaged since it was written"),
        (lambda b: b.replace(b"train_ids", b"brain_ids"), "does not say what these weights are"),
    ],
    ids=["cut early", "cut late", "empty", "no header", "one bit", "another record"],
)
def test_damaged_weights_are_refused_with_what_is_wrong(
    damage: Callable[[bytes], bytes], told: str, checkpoint: Path, pairs: Path, tmp_path: Path
) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(damage(checkpoint.read_bytes()))
    for use in _uses(file, pairs, tmp_path / "out"):
        refused(call_cli(use), str(file), told)
    assert not (tmp_path / "out").exists()


def test_weights_of_another_model_are_refused(checkpoint: Path, pairs: Path, tmp_path: Path) -> None:
    tensors, record = read_weights(checkpoint)
    file = tmp_path / "weights.safetensors"
    write_weights(file, tensors, dataclasses.replace(record, model="mk_unet_t"))
    for use in _uses(file, pairs, tmp_path / "out"):
        refused(call_cli(use), str(file), "of another model than MKUNet")


def test_the_state_of_a_run_is_no_model(trained: Path, pairs: Path, tmp_path: Path) -> None:
    for use in _uses(trained / "last.safetensors", pairs, tmp_path / "out"):
        refused(call_cli(use), "last.safetensors", "best.safetensors")


def test_weights_that_are_not_there_are_refused_with_the_closest_name(pairs: Path, tmp_path: Path) -> None:
    for name, told in (("no.safetensors", "no such file"), ("ordre", "Did you mean 'order'"), ("a:B", "cannot be imp")):
        for use in _uses(name, pairs, tmp_path / "out"):
            refused(call_cli(use), told)


@pytest.mark.parametrize("cut", [0, 1, 1.5, -0.2])
def test_a_threshold_that_cuts_nothing_is_refused(cut: float, checkpoint: Path, pairs: Path, tmp_path: Path) -> None:
    for use in _uses(checkpoint, pairs, tmp_path / "out"):
        refused(call_cli([*use, "--threshold", cut]), "between 0 and 1")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["train", "eval", "verify", "predict", "predict with a bundle", "bench"])
def test_a_number_of_threads_below_none_is_refused(
    verb: str, pairs: Path, checkpoint: Path, bundle: Path, tmp_path: Path, verbs_on: dict[str, Command]
) -> None:
    others: dict[str, list[object]] = {
        "predict": ["predict", pairs / "images", "--model", checkpoint, "--out", tmp_path / "out"],
        "predict with a bundle": ["predict", pairs / "images", "--model", bundle, "--out", tmp_path / "out"],
        "bench": ["bench", "--model", checkpoint],
    }
    call = others[verb] if verb in others else verbs_on[verb](pairs)
    refused(call_cli([*call, "--threads", -2]), "threads is -2", "or 0 for the default")


@pytest.mark.parametrize("verb", ["verify", "export"])
def test_a_split_without_a_folder_is_refused(verb: str, checkpoint: Path, bundle: Path, tmp_path: Path) -> None:
    split = tmp_path / "test.txt"
    split.write_text("polyps/p1\n")
    call = {
        "verify": ["verify", bundle, "--model", checkpoint],
        "export": ["export", "-t", "onnx", "--out", tmp_path / "b", "--model", checkpoint],
    }[verb]
    refused(call_cli([*call, "--split", split]), str(split), "Add --data")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("verb", ["verify", "export"])
def test_a_limit_below_none_is_refused(verb: str, pairs: Path, verbs_on: dict[str, Command]) -> None:
    refused(call_cli([*verbs_on[verb](pairs), "--limit", -3]), "limit -3", "or 0 for all")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--schedule", "100x2"], "multiples of 32"),
        (["--loss", "bce"], "unknown loss 'bce'"),
        (["--model", "ordre"], "Did you mean 'order'"),
        (["--batch", 0], "batch is 0"),
        (["--val-every", 0], "val_every is 0"),
        (["--val-fraction", 1], "fraction to hold out"),
        (["--in-channels", 4], "in_channels is 4"),
        (["--mixed-precision", "fp8"], "mixed_precision is 'fp8'"),
        (["--mixed-precision", "fp16"], "fp16 needs a GPU"),
        (["--config", "none.toml"], "none.toml"),
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--model", "unet", "--deep-supervision"], "no auxiliary heads"),
        (["--batch", 1], "Expected more than 1 value per channel"),
        (["--model", "torch.nn:Identity"], "gives (4, 3, 32, 32); wanted logits of (4, 1, 32, 32)"),
        (["--model", "torch.nn:Flatten"], "gives (4, 3072)"),
    ],
)
def test_a_recipe_that_cannot_run_costs_nobody_an_earlier_run(
    options: list[object], told: str, pairs: Path, tmp_path: Path, verbs_on: dict[str, Command]
) -> None:
    run = tmp_path / "run"
    (run / "sub").mkdir(parents=True)
    for name in ("best.safetensors", "last.safetensors", "sub/notes.txt"):
        (run / name).write_text("precious")
    before = _everything_below(run)
    refused(call_cli([*verbs_on["train"](pairs), *options, "--overwrite"]), told)
    assert _everything_below(run) == before


class TestBundles:
    """What a bundle must be to be used."""

    @pytest.fixture
    def copy(self, bundle: Path, tmp_path: Path) -> Path:
        return shutil.copytree(bundle, tmp_path / "bundle")

    @pytest.mark.parametrize("damaged", ["order-onnx-fp32.onnx", "run.py", "processing.py", "golden/00.mask.png"])
    def test_a_file_that_was_changed_is_refused_with_its_name(
        self, damaged: str, copy: Path, checkpoint: Path, pairs: Path, tmp_path: Path
    ) -> None:
        file = copy / damaged
        file.write_bytes(file.read_bytes() + b" ")
        for use in (*_uses(copy, pairs, tmp_path / "out")[:2], ["verify", copy, "--model", checkpoint]):
            refused(call_cli(use), str(file), "changed since the export", "sha256")

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda m: m["files"][0].update(sha256="0" * 64), "changed since the export: expected sha256 0000"),
            (lambda m: m.pop("threshold"), "threshold"),
            (lambda m: m.update(schema_version=99), "99"),
        ],
    )
    def test_a_manifest_that_does_not_hold_is_refused(
        self, change: Callable[[dict[str, object]], None], told: str, copy: Path, pairs: Path, tmp_path: Path
    ) -> None:
        manifest = json.loads((copy / "manifest.json").read_text())
        change(manifest)
        (copy / "manifest.json").write_text(json.dumps(manifest))
        for use in _uses(copy, pairs, tmp_path / "out")[:2]:
            refused(call_cli(use), str(copy), told)

    def test_a_manifest_that_is_cut_is_refused(self, copy: Path, pairs: Path, tmp_path: Path) -> None:
        manifest = copy / "manifest.json"
        manifest.write_bytes(manifest.read_bytes()[:200])
        for use in _uses(copy, pairs, tmp_path / "out")[:2]:
            refused(call_cli(use), str(manifest))

    def test_a_folder_that_is_no_bundle_is_refused(self, pairs: Path, tmp_path: Path) -> None:
        for use in (*_uses(pairs, pairs, tmp_path / "out")[:2], ["verify", pairs]):
            refused(call_cli(use), str(pairs), "no manifest.json")

    def test_verification_against_other_weights_is_refused_and_changes_nothing(
        self, copy: Path, checkpoint: Path, tmp_path: Path
    ) -> None:
        tensors, record = read_weights(checkpoint)
        other = tmp_path / "other.safetensors"
        write_weights(other, {name: value * 0 for name, value in tensors.items()}, record)
        before = _everything_below(copy)
        refused(call_cli(["verify", copy, "--model", other]), "other.safetensors", "exported from weights")
        assert _everything_below(copy) == before
