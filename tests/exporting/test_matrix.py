"""The matrix of a folder's bundles."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bundle_samples import fill
from int8_network import quantized_tiny
from numpy.typing import NDArray
from PIL import Image
from target_contract import WEIGHTS

from lawder_edge.bundle.manifest import Manifest, OutputKind, OutputSpec
from lawder_edge.bundle.store import Bundle, open_bundle, write_bundle
from lawder_edge.cli.main import run
from lawder_edge.cli.verify_all import exit_code
from lawder_edge.errors import BadInput
from lawder_edge.evaluation.evaluate import EvalPair
from lawder_edge.exporting import comparing, outcome
from lawder_edge.exporting.comparing import ImageChoice, Source, bundles_in, compare_all, told_apart
from lawder_edge.exporting.export import export_bundle
from lawder_edge.exporting.integer_reference import IntegerReference
from lawder_edge.exporting.matrix import Network, Outputs, Row, matrix_of
from lawder_edge.exporting.verify import hostile_images
from lawder_edge.targets.registry import ExportSpec
from lawder_edge.targets.tflite import load

SIZE = (16, 16)
ORDER = Network("order", "1" * 64, 0.5)
UNET = Network("unet", "2" * 64, 0.5)


def square(shift: int = 0) -> NDArray[np.uint8]:
    mask = np.zeros(SIZE, np.uint8)
    mask[4:12, 4 + shift : 12 + shift] = 1
    return mask


def outputs(name: str, shift: int = 0, network: Network = ORDER) -> Outputs:
    logits = np.where(square(shift)[None, None] > 0, 2.0, -2.0).astype(np.float32)
    state = "reference" if name == "pytorch" else "certified"
    masks = (square(shift),)
    return Outputs(name, "int8", network, state, "logits", 1, masks * 3, (logits,) * 3, masks * 5)


TRUTHS = [EvalPair(f"set/{n}", "set", None, np.zeros((*SIZE, 3), np.uint8), square()) for n in range(3)]


def test_runtimes_are_compared_with_pytorch_and_with_each_other() -> None:
    found = matrix_of([outputs("pytorch"), outputs("onnx"), outputs("tflite", 1)], TRUTHS, source="3 of set")
    same, moved = found.rows[1:]
    assert (same.mask_dice, moved.mask_dice) != (None, None)
    assert same.mask_dice is not None
    assert moved.mask_dice is not None
    assert moved.drop is not None
    assert (same.mask_dice.mean, same.largest, same.hostile) == (1.0, 0.0, 1.0)
    assert moved.mask_dice.mean == pytest.approx(7 / 8)
    assert moved.drop.mean == pytest.approx(1 / 8)
    assert (moved.largest, moved.hostile) == (4.0, 1 - 16 / 256)
    (pair,) = found.pairings
    assert (pair.first, pair.second, pair.holds) == ("onnx", "tflite", False)
    assert pair.dice_difference == pytest.approx(1 / 8)


def test_equal_runtimes_hold_and_a_failed_one_keeps_its_row() -> None:
    failed = Row("openvino", "int8", "failed", "its process died")
    found = matrix_of([outputs("pytorch"), outputs("onnx"), outputs("tflite")], TRUTHS, source="x", failed=[failed])
    assert [pair.holds for pair in found.pairings] == [True]
    assert found.rows[-1] == failed


@pytest.mark.parametrize("other", [UNET, replace(ORDER, threshold=0.4), replace(ORDER, weights="3" * 64)])
def test_each_artifact_is_compared_with_its_own_network_alone(other: Network) -> None:
    given = [
        *(outputs(name) for name in ("pytorch", "onnx", "tflite")),
        *(outputs(name, 2, other) for name in ("pytorch", "onnx", "tflite")),
    ]
    found = matrix_of(given, TRUTHS, source="x")
    assert [row.mask_dice.mean for row in found.rows if row.mask_dice is not None] == [1.0] * 6
    assert [row.network for row in found.rows] == [str(ORDER)] * 3 + [str(other)] * 3
    assert [(p.first, p.second, p.network) for p in found.pairings] == [
        ("onnx", "tflite", str(ORDER)),
        ("onnx", "tflite", str(other)),
    ]
    assert all(pair.holds for pair in found.pairings)


def test_of_another_name_the_same_weights_are_the_same_network() -> None:
    assert matrix_of([outputs("c"), outputs("onnx", 0, replace(ORDER, model="mine"))], TRUTHS, source="x").pairings


def test_what_pytorch_does_not_compute_costs_no_row_of_an_artifact_and_no_pair() -> None:
    reason = "the package carries none"
    rejected = replace(outputs("tflite", 1), state="rejected")
    given = [outputs("onnx"), rejected, outputs("pytorch", 0, UNET), outputs("c", 0, UNET)]
    missing = {outputs("onnx").computes: reason}
    found = matrix_of(given, TRUTHS, source="x", missing=missing)
    assert [row.state for row in found.rows] == ["no-reference", "rejected", "reference", "certified"]
    for row, dice in zip(found.rows[:2], (1.0, 7 / 8), strict=True):
        assert row.reason == f"no PyTorch to compare with: {reason}"
        assert row.dice is not None
        assert row.dice.mean == pytest.approx(dice)
        assert (row.drop, row.mask_dice, row.largest, row.hostile) == (None,) * 4
    (pair,) = found.pairings
    assert (pair.first, pair.second) == ("onnx", "tflite")
    assert pair.dice_difference == pytest.approx(1 / 8)
    assert exit_code(found, strict=False) == 3
    assert exit_code(replace(found, rows=(found.rows[0], *found.rows[2:])), strict=False) == 1


def test_bundles_of_one_target_are_told_apart_and_each_has_its_own_numbers() -> None:
    sources = [
        Source("pytorch", Path("w/c-16")),
        Source("bundle", Path("w/c-16")),
        Source("bundle", Path("w/c.rejected")),
    ]
    named = told_apart([outputs("pytorch"), outputs("c"), outputs("c", 2)], sources)
    assert [one.name for one in named] == ["pytorch", "c-16", "c.rejected"]
    found = matrix_of([one for one in named if isinstance(one, Outputs)], TRUTHS, source="x")
    assert [row.mask_dice.mean for row in found.rows if row.mask_dice is not None] == [1.0, 1.0, pytest.approx(6 / 8)]


def test_bundles_of_two_sizes_are_held_against_pytorch_at_their_own() -> None:
    def larger(name: str) -> Outputs:
        small = outputs(name)
        wide = tuple(np.zeros((1, 1, 32, 32), np.float32) for _ in range(3))
        return replace(small, raw=wide, hostile=(np.zeros((32, 32), np.uint8),) * 5)

    given = [outputs("pytorch"), outputs("c"), larger("pytorch"), larger("c")]
    sources = [Source(kind, Path(f"w/{side}")) for side in (16, 32) for kind in ("pytorch", "bundle")]  # type: ignore[arg-type]
    named = [one for one in told_apart(given, sources) if isinstance(one, Outputs)]
    assert [one.name for one in named] == ["pytorch 16x16", "16", "pytorch 32x32", "32"]
    found = matrix_of(named, TRUTHS, source="x")
    assert [row.largest for row in found.rows] == [0.0] * 4
    assert found.pairings == ()


def organs(kidney: int = 1, tumour: int = 2) -> NDArray[np.uint8]:
    """Two classes beside the background, one above the other."""
    mask = np.zeros(SIZE, np.uint8)
    mask[2:6, 4:12], mask[10:14, 4:12] = kidney, tumour
    return mask


def three_classes(name: str, labels: NDArray[np.uint8], kind: OutputKind) -> Outputs:
    raw = (labels == np.arange(3)[:, None, None])[None].astype(np.float32) if kind == "logits" else labels[None, None]
    state = "reference" if name == "pytorch" else "certified"
    return Outputs(name, "fp32", ORDER, state, kind, 3, (labels,), (raw,), (labels,) * 5)


@pytest.mark.parametrize("kind", ["logits", "mask"])
def test_the_last_of_several_classes_is_compared_whatever_a_file_gives(kind: OutputKind) -> None:
    truth = EvalPair("set/0", "set", None, np.zeros((*SIZE, 3), np.uint8), organs())
    given = [three_classes("pytorch", organs(), "logits"), three_classes("onnx", organs(tumour=0), kind)]
    row = matrix_of(given, [truth], source="1 of set").rows[1]
    assert row.dice is not None
    assert row.mask_dice is not None
    assert (row.dice.mean, row.mask_dice.mean) == (0.5, 0.5)


def written(folder: Path, *, classes: int = 3) -> Path:
    def build(at: Path) -> Manifest:
        return replace(fill(at), output=OutputSpec(kind="logits", classes=classes))

    return write_bundle(folder, build).path


def test_masks_of_several_classes_are_read_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, picture in (("images", np.zeros((*SIZE, 3), np.uint8)), ("masks", organs())):
        (tmp_path / "set" / kind).mkdir(parents=True)
        Image.fromarray(picture).save(tmp_path / "set" / kind / "0.png")

    def exactly(source: Source, *given: object) -> Outputs:
        return three_classes("pytorch" if source.kind == "pytorch" else "onnx", organs(), "logits")

    monkeypatch.setattr(comparing, "_isolated", exactly)
    found = compare_all([written(tmp_path / "b")], ImageChoice(tmp_path / "set"))
    assert [row.dice.mean for row in found.rows if row.dice is not None] == [1.0, 1.0]


def folder_of_two(folder: Path) -> Path:
    """Bundles of two networks, of other weights, one precision and size, one class."""
    for network in (ORDER, UNET):

        def build(at: Path, network: Network = network) -> Manifest:
            found = fill(at)
            weights = replace(found.weights, model=network.model, sha256=network.weights)
            spec = OutputSpec(kind="logits", classes=1)
            return replace(found, weights=weights, threshold=network.threshold, output=spec)

        write_bundle(folder / network.model, build)
    return folder


def as_of(source: Source) -> Outputs:
    """What a source gives: masks of the U-Net are elsewhere than those of ORDER."""
    network = ORDER if source.bundle.name == "order" else UNET
    name = "pytorch" if source.kind == "pytorch" else "onnx"
    return replace(
        outputs(name, 2 * (network is UNET), network), precision="fp32", hostile=(np.zeros((256, 352), np.uint8),)
    )


def test_each_network_of_a_folder_gets_pytorch_with_its_own_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Source] = []

    def answer(source: Source, *given: object) -> Outputs:
        asked.append(source)
        return as_of(source)

    monkeypatch.setattr(comparing, "_isolated", answer)
    monkeypatch.setattr(comparing, "at_a_time", lambda: 1)
    monkeypatch.setattr(comparing, "images_of", lambda *given, **told: SimpleNamespace(read=lambda: TRUTHS, source="3"))
    assert run(["verify", str(folder_of_two(tmp_path)), "--all"]) == 0
    kinds = [(source.bundle.name, source.kind) for source in asked]
    assert kinds == [(name, kind) for name in ("order", "unet") for kind in ("pytorch", "bundle")]
    rows = [line for line in capsys.readouterr().out.splitlines() if line.split()[:1] in (["pytorch"], ["onnx"])]
    assert [row.split()[-5:] for row in rows] == [["1.0000", *str(n).split()] for n in (ORDER, ORDER, UNET, UNET)]


def test_without_pytorch_each_artifact_has_its_row_and_the_reason_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(source: Source, *given: object) -> Outputs | Row:
        found = as_of(source)
        if source.kind == "pytorch" and found.network is UNET:
            return Row("pytorch", "fp32", "failed", "none carried", network=str(UNET))
        return found

    monkeypatch.setattr(comparing, "_isolated", answer)
    monkeypatch.setattr(comparing, "images_of", lambda *given, **told: SimpleNamespace(read=lambda: TRUTHS, source="3"))
    assert run(["verify", str(folder_of_two(tmp_path)), "--all"]) == 1
    said = capsys.readouterr().out.splitlines()
    (row,) = [line for line in said if "no-reference" in line]
    assert row.split() == ["onnx", "fp32", "no-reference", "0.7500", *["-"] * 6, *str(UNET).split()]
    assert said[-2:] == [
        f"onnx fp32 of {UNET}: no PyTorch to compare with: none carried",
        f"pytorch fp32 of {UNET}: none carried",
    ]


def test_the_network_of_one_alone_fills_no_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(comparing, "_isolated", lambda source, *given: as_of(source))
    monkeypatch.setattr(comparing, "images_of", lambda *given, **told: SimpleNamespace(read=lambda: TRUTHS, source="3"))
    shutil.rmtree(folder_of_two(tmp_path) / "unet")
    assert run(["verify", str(tmp_path), "--all"]) == 0
    assert "network" not in capsys.readouterr().out


def die(*given: object) -> None:
    os.abort()


def test_a_source_that_fails_names_its_network_and_how_to_look_closer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "outputs_of", die)
    bundle = folder_of_two(tmp_path) / "unet"
    row = comparing._isolated(Source("bundle", bundle), ImageChoice(), 60.0)
    assert isinstance(row, Row)
    assert (row.state, row.network) == ("failed", str(UNET))
    assert row.reason.startswith("its process was killed by SIGABRT.")
    assert row.reason.endswith(f"lawder-edge verify {bundle}")


def test_a_named_checkpoint_is_for_the_bundles_of_its_weights_and_the_carried_ones_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def source_model(bundle: Bundle, model: str | None = None) -> str:
        of = {"mine": "unet", None: "order"}.get(model)
        if of is None:
            raise BadInput("no such checkpoint")
        if bundle.manifest.weights.model != of:
            raise outcome.OtherWeights(f"{model} is no {bundle.manifest.weights.model}")
        return of

    monkeypatch.setattr(outcome, "source_model", source_model)
    folder = folder_of_two(tmp_path)
    order, unet = open_bundle(folder / "order"), open_bundle(folder / "unet")
    assert [comparing._exported_from(bundle, "mine") for bundle in (order, unet)] == ["order", "unet"]
    with pytest.raises(BadInput, match="None is no unet"):
        comparing._exported_from(unet, None)
    with pytest.raises(BadInput, match="no such checkpoint"):
        comparing._exported_from(order, "typo")


def test_a_damaged_bundle_costs_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, damaged = written(tmp_path / "a", classes=1), written(tmp_path / "b", classes=1)
    (damaged / open_bundle(damaged).manifest.model_file).write_bytes(b"other")
    shutil.copytree(whole, tmp_path / ".c.1.tmp")

    def fake(source: Source, *given: object) -> Outputs:
        return replace(outputs("pytorch" if source.kind == "pytorch" else "onnx"), precision="fp32")

    monkeypatch.setattr(comparing, "_isolated", fake)
    monkeypatch.setattr(comparing, "matrix_of", lambda given, truths, **more: more["failed"])
    assert bundles_in(tmp_path) == (whole, damaged)
    (row,) = compare_all(bundles_in(tmp_path), ImageChoice())
    assert (row.name, row.state) == ("b", "failed")
    assert "changed since" in row.reason or "sha256" in row.reason


def test_bundles_of_other_numbers_of_classes_are_no_matrix(tmp_path: Path) -> None:
    bundles = [written(tmp_path / "b"), written(tmp_path / "c", classes=1)]
    with pytest.raises(BadInput, match=r"c has 1, b has 3; wanted as many in each.*into a folder of its own"):
        compare_all(bundles, ImageChoice())


def test_a_model_that_no_bundle_is_of_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--model order has weights .* of which no bundle was exported \(b from "):
        compare_all([written(tmp_path / "b")], ImageChoice(), model="order")


def test_the_exit_code_tells_of_certificates_and_if_asked_of_pairs() -> None:
    apart = matrix_of([outputs("pytorch"), outputs("onnx"), outputs("tflite", 1)], TRUTHS, source="x")
    assert (exit_code(apart, strict=False), exit_code(apart, strict=True)) == (0, 3)
    rejected = replace(apart, rows=(replace(apart.rows[1], state="rejected"), *apart.rows))
    assert exit_code(rejected, strict=False) == 3
    failed = replace(apart, rows=(Row("c", "int8", "failed", "its process died"), *apart.rows))
    assert exit_code(failed, strict=False) == 1


def test_one_lost_polyp_among_many_images_does_not_hold() -> None:
    truths = [replace(TRUTHS[0], id=f"set/{n}") for n in range(200)]
    good = outputs("onnx")
    masks = (square(),) * 199 + (np.zeros(SIZE, np.uint8),)
    a = replace(good, labels=(square(),) * 200, raw=good.raw[:1] * 200)
    b = replace(a, name="tflite", labels=masks)
    (pair,) = matrix_of([replace(a, name="pytorch", state="reference"), a, b], truths, source="x").pairings
    assert pair.mask_dice.mean > 0.99
    assert (pair.mask_dice.worst_id, pair.holds) == ("set/199", False)


def test_hostile_frames_are_what_they_are_called() -> None:
    frames = {pair.id.split("/")[1]: pair.frame for pair in hostile_images((8, 10)).read()}
    assert list(frames) == ["black", "white", "red", "noise", "checkerboard"]
    assert {frame.shape for frame in frames.values()} == {(8, 10, 3)}
    assert frames["checkerboard"][0, :3, 0].tolist() == [0, 255, 0]
    assert frames["red"][3, 3].tolist() == [255, 0, 0]
    assert not np.array_equal(frames["noise"], next(iter(hostile_images((8, 10), seed=1).read())).frame)


def test_the_integer_reference_is_litert_s_reference(tmp_path: Path) -> None:
    network = quantized_tiny()
    spec = ExportSpec(size=(64, 64), precision="int8")
    bundle = export_bundle(
        network,
        target="tflite",
        spec=spec,
        weights_info=WEIGHTS,
        out=tmp_path / "b",
    )
    reference = IntegerReference(network, size=(64, 64), channels=3, classes=1, threshold=0.5)
    litert = load(bundle, kernels="reference")
    for pair in hostile_images((64, 64)).read():
        tensor = reference.prepare(pair.frame)
        np.testing.assert_array_equal(reference.infer(tensor), litert.infer(tensor))


def test_a_folder_without_bundles_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(BadInput, match="holds no bundle"):
        bundles_in(tmp_path)
