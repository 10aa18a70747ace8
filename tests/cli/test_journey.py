"""A user's whole way: pictures, training, evaluation, export, verification, prediction."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from cli_calls import BRIEF, RECIPE, Said, call_cli, done, process_environment, refused
from PIL import Image

import lawder_edge
from lawder_edge.bundle.store import open_bundle, read_certificate
from lawder_edge.targets.onnx import OnnxRunner
from lawder_edge.training.checkpoint import read_weights
from lawder_edge.weights import bundled_weights

pytestmark = pytest.mark.slow


def _numbers(model: Path, data: Path, *options: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done(["eval", "-m", model, "--data", data, "--format", "json", *options]).out)
    return found


def test_phantom_frames_pass_the_check(phantom: Path) -> None:
    said = done(["data", "check", phantom])
    assert "ph: 24 images, 24 pairs (WxH 128x96: 24)" in said.out
    assert said.out.endswith(f"ok: {phantom}\n")


def test_a_run_folder_holds_weights_state_and_curves(trained: Path) -> None:
    assert {p.name for p in trained.iterdir()} == {
        "best.safetensors", "last.safetensors", "val.txt", "curves.csv", "curves.png", "cache"
    }  # fmt: skip
    assert len((trained / "curves.csv").read_text().splitlines()) == 11
    assert Image.open(trained / "curves.png").size == (800, 400)


def test_training_taught_the_network_something(trained: Path, checkpoint: Path, phantom: Path) -> None:
    losses = [float(row["loss"]) for row in csv.DictReader(io.StringIO((trained / "curves.csv").read_text()))]
    assert losses[-1] < 0.8 * losses[0]
    # Neither nothing nor the whole frame, with which a network scores before it has learnt anything.
    areas = {i["predicted_area_fraction"] for i in _numbers(checkpoint, phantom, "--per-image")["images"]}
    assert len(areas) > 12
    assert max(areas) < 0.95


def test_the_pictures_to_validate_on_can_be_named(phantom: Path, tmp_path: Path) -> None:
    ids = [f"ph/{p.stem}" for p in sorted((phantom / "images").iterdir())]
    named = tmp_path / "val.txt"
    named.write_text("\n".join(ids[20:]))
    command = ["train", "--data", phantom, *RECIPE, "--schedule", "64x1", "--val-split", named]
    said = done([*command, "--out", tmp_path / "run"])
    assert "20 pictures to train on, 4 held out" in said.err
    assert (tmp_path / "run" / "val.txt").read_text().split() == ids[20:]
    both = tmp_path / "train.txt"
    both.write_text("\n".join(ids[:21]))
    refused(call_cli([*command, "--split", both, "--out", tmp_path / "no"]), "in --split and in --val-split", ids[20])


def _largest_change(before: Path, after: Path) -> float:
    """Of a learnt number between two checkpoints of a network."""
    old, new = (read_weights(path)[0] for path in (before, after))
    learnt = [name for name in old if "running" not in name and "num_batches" not in name]
    return max(float((new[name] - old[name]).abs().max()) for name in learnt)


def test_training_goes_on_from_weights_and_tells_where_validation_is_not_clean(
    checkpoint: Path, phantom: Path, tmp_path: Path
) -> None:
    command = ["train", "--data", phantom, *RECIPE, "--schedule", "64x1", "--init"]
    again = done([*command, checkpoint, "--out", tmp_path / "again", "--learning-rate", "1e-6"])
    assert "not clean" not in again.err
    other = done([*command, checkpoint, "--out", tmp_path / "other", "--seed", 1])
    assert "validation is not clean" in other.err
    # The rates of the two runs differ ten-thousandfold: what the first keeps is what was started from.
    moved = [_largest_change(checkpoint, tmp_path / run / "best.safetensors") for run in ("again", "other")]
    assert moved[0] < 1e-4 < moved[1]
    refused(call_cli([*command, "mk_unet_t", "--out", tmp_path / "no"]), "the package carries no weights")
    quantised = bundled_weights("order", int8=True)
    refused(call_cli([*command, quantised, "--out", tmp_path / "no"]), "quantised weights")
    assert not (tmp_path / "no").exists()


def test_an_evaluation_gives_numbers_in_every_format(checkpoint: Path, phantom: Path) -> None:
    found = _numbers(checkpoint, phantom, "--per-image")
    dice = found["dice"]
    assert 0 <= dice["low"] <= dice["mean"] <= dice["high"] <= 1
    assert found["n"] == len(found["images"]) == 24
    assert {"iou", "mean_iou", "surface_dice", "threshold", "datasets", "overlap", "sizes"} <= found.keys()
    shown = f"{dice['mean']:.4f} [{dice['low']:.4f}, {dice['high']:.4f}]"
    texts = {
        f: done(["eval", "--model", checkpoint, "--data", phantom, "--format", f]).out for f in ("table", "md", "csv")
    }
    for text in texts.values():
        assert shown in text
    assert texts["md"].splitlines()[1].startswith("|")
    assert len(list(csv.reader(io.StringIO(texts["csv"])))) == 2


def test_per_image_scores_come_as_csv(checkpoint: Path, phantom: Path) -> None:
    said = done(["eval", "--model", checkpoint, "--data", phantom, "--format", "csv", "--per-image"])
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert len(rows) == 24
    mean = np.mean([float(row["dice"]) for row in rows])
    assert mean == pytest.approx(_numbers(checkpoint, phantom)["dice"]["mean"], abs=1e-6)


def test_a_contact_sheet_shows_cases(checkpoint: Path, phantom: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    said = done(["eval", "--model", checkpoint, "--data", phantom, "--sheet", sheet])
    assert str(sheet) in said.err
    assert np.asarray(Image.open(sheet)).std() > 10


def test_the_training_list_is_marked_as_such(checkpoint: Path, phantom: Path, tmp_path: Path) -> None:
    overlap = _numbers(checkpoint, phantom)["overlap"]
    assert overlap["known"]
    assert overlap["n_trained"] + overlap["n_selected"] == 24
    assert overlap["n_selected"] == 5
    assert "higher than those on unseen patients" in done(["eval", "--model", checkpoint, "--data", phantom]).out

    other = tmp_path / "unseen"
    done(["data", "phantom", "--out", other, "-n", 2, "--size", 64, 64, "--seed", 9])
    overlap = _numbers(checkpoint, other)["overlap"]
    assert overlap["known"]
    assert overlap["n_trained"] == overlap["n_selected"] == 0


def test_a_split_limits_what_is_evaluated(checkpoint: Path, phantom: Path, tmp_path: Path) -> None:
    split = tmp_path / "few.txt"
    split.write_text("ph/phantom_0_0003\nph/phantom_0_0001  # hard\n")
    assert _numbers(checkpoint, phantom, "--split", split)["n"] == 2
    assert _numbers(checkpoint, phantom.parent, "--split", split)["n"] == 2


def test_an_export_is_certified_and_says_what_is_next(exported: tuple[Path, Said]) -> None:
    out, said = exported
    assert "certified" in said.out
    assert f"lawder-edge predict IMAGE --model {out}" in said.err
    certificate = read_certificate(open_bundle(out))
    assert certificate is not None
    assert certificate.status == "certified"
    assert certificate.agreement is not None
    sizes = {(d.height, d.width): d.largest for d in certificate.agreement.logit_differences}
    assert sizes.keys() >= {(128, 128), (256, 256), (352, 352)}
    assert max(sizes.values()) <= 1e-4
    assert any(i.dice_artifact > 0 for i in certificate.images)


def test_a_bundle_scores_what_its_checkpoint_scores(checkpoint: Path, bundle: Path, phantom: Path) -> None:
    ours, theirs = _numbers(bundle, phantom), _numbers(checkpoint, phantom)
    assert ours["dice"]["mean"] > 0.1
    for metric in ("dice", "iou", "surface_dice"):
        assert ours[metric]["mean"] == pytest.approx(theirs[metric]["mean"], abs=1e-3)
    assert ours["threshold"] == theirs["threshold"]


def test_a_bundle_can_be_verified_on_other_images(checkpoint: Path, bundle: Path, phantom: Path) -> None:
    said = done(["verify", bundle, "--model", checkpoint, "--data", phantom, "--limit", 3, "--format", "json"])
    certificate = json.loads(said.out)
    assert certificate["status"] == "certified"
    assert certificate["source"] == "3 of ph"
    assert [i["id"] for i in certificate["images"]] == ["ph/phantom_0_0000", "ph/phantom_0_0008", "ph/phantom_0_0016"]
    assert "pass: mean mask Dice" in done(["verify", bundle, "--model", checkpoint]).out


def test_verification_without_the_checkpoint_says_that_it_is_wanted(bundle: Path) -> None:
    refused(call_cli(["verify", bundle]), "--model")


def test_the_verification_of_an_altered_network_rejects_it(
    checkpoint: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    right = OnnxRunner.infer
    monkeypatch.setattr(OnnxRunner, "infer", lambda self, tensor: right(self, tensor) + np.float32(0.01))
    refused(call_cli(["verify", copy, "--model", checkpoint]), "copy.rejected", "logit difference", code=3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.rejected"]


def test_masks_of_a_folder_and_of_one_image_of_any_size(bundle: Path, phantom: Path, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "masks"
    photos.mkdir()
    frame = Image.open(phantom / "images" / "phantom_0_0000.png")
    sizes = {"a": (128, 96), "b": (333, 77), "c": (31, 500)}
    for name, size in sizes.items():
        frame.resize(size).save(photos / f"{name}.png")
    said = done(["predict", photos, "--model", bundle, "--out", out])
    assert [line.partition(":")[0] for line in said.out.splitlines()] == [str(out / f"{n}_mask.png") for n in sizes]
    for name, size in sizes.items():
        mask = Image.open(out / f"{name}_mask.png")
        assert mask.size == Image.open(out / f"{name}_overlay.png").size == size
        assert set(np.unique(np.asarray(mask))) <= {0, 255}
    done(["predict", photos / "a.png", "--model", bundle, "--out", tmp_path / "one", "--no-overlay"])
    assert [p.name for p in (tmp_path / "one").iterdir()] == ["a_mask.png"]
    assert (tmp_path / "one" / "a_mask.png").read_bytes() == (out / "a_mask.png").read_bytes()


def test_python_and_the_command_line_draw_one_mask(bundle: Path, phantom: Path, tmp_path: Path) -> None:
    image = phantom / "images" / "phantom_0_0005.png"
    done(["predict", image, "--model", bundle, "--out", tmp_path])
    runner = lawder_edge.load(bundle)
    probability = runner.predict(np.asarray(Image.open(image)))
    assert probability.shape == (96, 128)
    assert probability.dtype == np.float32
    mask = np.asarray(Image.open(tmp_path / "phantom_0_0005_mask.png"))
    np.testing.assert_array_equal(mask == 255, probability >= np.float32(runner.threshold))


OWN_NETWORK = '''
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    """Takes none of the keywords that the toolkit offers."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout2d(0.1)
        self.head = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x):
        y = self.head(self.drop(F.relu(self.norm(self.down(x)))))
        return F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
'''


def test_a_network_of_ones_own_goes_the_same_way(
    phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_package.py").write_text(OWN_NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    run, bundle = tmp_path / "run", tmp_path / "own-onnx"
    said = done(["train", "--data", phantom, "--out", run, *RECIPE, "--model", "my_package:Net"])
    weights = run / "best.safetensors"
    own = f"my_package:Net={weights}"
    assert f"next: lawder-edge eval --model {own} --data {phantom}" in said.err
    refused(call_cli(["predict", phantom / "images", "--model", weights]), "import its code", own)
    said = done(["export", "-t", "onnx", "-m", own, "--out", bundle, "--size", 64, 96, "--format", "json"])
    row = json.loads(said.out)
    assert row["status"] == "certified"
    assert row["file"] == "my_package_Net-onnx-fp32.onnx"
    done(["verify", bundle, "--model", own])
    assert _numbers(bundle, phantom)["n"] == 24
    done(["predict", phantom / "images", "--model", bundle, "--out", tmp_path / "masks"])
    assert len(list((tmp_path / "masks").glob("*_mask.png"))) == 24


def test_the_program_finds_a_network_where_its_user_works(pairs: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "here_only.py").write_text(OWN_NETWORK)
    # As the console script starts: without the working folder in front of the path.
    program = [sys.executable, "-P", "-c", "from lawder_edge.cli.main import main; main()"]
    command = ["train", "--data", pairs, "--out", "run", *BRIEF, "--model", "here_only:Net"]
    ended = subprocess.run(
        [*program, *map(str, command)],
        cwd=work, env=process_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert (work / "run" / "best.safetensors").is_file()


def test_a_bundle_that_gives_masks_predicts_what_the_other_does_and_has_no_probability_to_evaluate(
    bundle: Path, checkpoint: Path, phantom: Path, tmp_path: Path
) -> None:
    masks = tmp_path / "masks"
    done(["export", "-t", "onnx", "-m", checkpoint, "--out", masks, "--output", "mask", "--io", "uint8"])
    manifest = open_bundle(masks).manifest
    assert (manifest.output.kind, manifest.output.dtype, manifest.input.dtype) == ("mask", "uint8", "uint8")
    images = sorted((phantom / "images").iterdir())[:2]
    for image in images:
        for name, model in (("a", bundle), ("b", masks)):
            done(["predict", image, "--model", model, "--out", tmp_path / name])
        a, b = (np.asarray(Image.open(tmp_path / name / f"{image.stem}_mask.png")) != 0 for name in "ab")
        # Class numbers are resized to the nearest, probabilities before they are cut: edges move by up to 2 pixels.
        moved = cv2.morphologyEx(a.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) != 0
        assert 0 < a.sum() < a.size
        assert not ((a != b) & ~moved).any()
    done(["verify", masks, "--model", checkpoint])
    refused(call_cli(["eval", "-m", masks, "--data", phantom]), "--output prob")
    refused(
        call_cli(["predict", images[0], "-m", masks, "--threshold", "0.9", "--out", tmp_path / "c"]), "inside the file"
    )


def test_what_a_target_cannot_give_is_told_with_what_it_can(checkpoint: Path, tmp_path: Path) -> None:
    words = ["export", "-t", "tensorrt", "-m", checkpoint, "--out", tmp_path / "b", "--output", "mask"]
    refused(call_cli(words), "has no --output mask", "--output logits, --output prob")
    assert list(tmp_path.iterdir()) == []
