"""The accuracy report on phantom frames in the place of patients', and the lists and weights that it names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
import pytest

from lawder_edge.bench.svg import Axis, Line, panels, plot
from lawder_edge.data.clinicdb import NUM_FRAMES, frame_number, sequence_of
from lawder_edge.data.datasets import read_split
from lawder_edge.data.phantom import make_frame
from lawder_edge.files import write_png
from lawder_edge.models import create_model
from lawder_edge.training.checkpoint import WeightsRecord, write_weights

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def accuracy(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("accuracy")


def write_data(folder: Path) -> None:
    """Phantoms under ClinicDB's names, two of each half, and a list of the two of sequence 1."""
    for kind in ("images", "masks"):
        (folder / "cvc-clinicdb" / kind).mkdir(parents=True)
    for i, frame in enumerate((1, 2, 400, 612)):
        made = make_frame(np.random.default_rng(i), size=(48, 64), area=0.04)
        write_png(folder / "cvc-clinicdb" / "images" / f"{frame:03d}.png", made.image)
        write_png(folder / "cvc-clinicdb" / "masks" / f"{frame:03d}.png", made.mask * np.uint8(255))
    (folder / "splits").mkdir()
    (folder / "splits" / "some.txt").write_text("cvc-clinicdb/001\ncvc-clinicdb/002\n")
    for name, frames in (("first", (1, 2)), ("second", (400, 612))):
        (folder / "splits" / f"{name}.txt").write_text("".join(f"cvc-clinicdb/{f:03d}\n" for f in frames))


@pytest.fixture
def small(accuracy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The report with two lists and three networks: one finds polyp everywhere, one nowhere, one has no weights."""
    write_data(tmp_path / "data")
    halves = (
        accuracy.Part("first half", "Chosen on.", "first.txt"),
        accuracy.Part("second half", "Kept.", "second.txt"),
    )
    both = accuracy.ImageList("all", "All frames.", ("first.txt", "second.txt"), halves)
    lists = (accuracy.ImageList("some", "Two frames.", ("some.txt",)), both)
    tensors = {name: value * 0 for name, value in create_model("mk_unet_t").state_dict().items()}
    for name, threshold in (("everywhere", 0.4), ("nowhere", 0.6)):
        write_weights(
            tmp_path / f"{name}.safetensors", tensors, WeightsRecord("mk_unet_t", threshold=threshold, size=32)
        )
    networks = tuple(
        accuracy.Network(name, f"{name} polyp", tmp_path / f"{name}.safetensors", names)
        for name, names in (("everywhere", ("all",)), ("nowhere", ("all",)), ("later", ("some", "all")))
    )
    monkeypatch.setattr(accuracy, "LISTS", lists)
    monkeypatch.setattr(accuracy, "NETWORKS", networks)
    monkeypatch.setattr(accuracy, "CHARTED", ("second half",))
    monkeypatch.setattr(accuracy, "PHANTOMS", 2)
    return accuracy


def test_one_command_writes_page_values_chart_and_sheets_and_keeps_a_persons_words(
    small: ModuleType, tmp_path: Path
) -> None:
    out, sheets = tmp_path / "out", tmp_path / "sheets"
    out.mkdir()
    (out / "accuracy.md").write_text("# Old\n\n| 0.1 |\n\n## What it says\n\nA word.\n")
    small.main(["--data", str(tmp_path / "data"), "--out", str(out), "--sheets", str(sheets), "--threads", "1"])
    text = (out / "accuracy.md").read_text()
    assert text.endswith("\n## What it says\n\nA word.\n")
    assert "| 0.1 |" not in text
    assert "| later | no weights yet |" in text
    assert "\n### second half\n\nKept.\n\n2 images" in text
    lists = json.loads((out / "accuracy.json").read_text())["lists"]
    halves = ["first half", "second half"]
    crops = ["all, crops", "first half, crops", "second half, crops"]
    assert list(lists) == ["some", "all", *halves, *crops, "phantoms"]
    assert (lists["some"]["networks"], lists["some"]["missing"]) == ({}, ["later"])
    everywhere, nowhere = (lists["all"]["networks"][name] for name in ("everywhere", "nowhere"))
    assert everywhere["dice"]["mean"] == pytest.approx(2 * 0.04 / 1.04, rel=0.01)
    assert nowhere["dice"]["mean"] == 0.0
    assert nowhere["reference_less_this"]["mean"] == pytest.approx(everywhere["dice"]["mean"])
    for name in (*crops, "phantoms"):
        areas = [network["false_positives"]["area"]["mean"] for network in lists[name]["networks"].values()]
        assert areas == [1.0, 0.0]
    assert [lists[name]["networks"]["nowhere"]["n"] for name in lists if name != "some"] == [4, 2, 2, 4, 2, 2, 2]
    assert sorted(file.name for file in sheets.iterdir()) == ["all_crops_everywhere.png", "all_everywhere.png"]
    assert len(ElementTree.fromstring((out / "accuracy.svg").read_text()).findall(f"{SVG}svg")) == 2


def test_a_trial_takes_some_images_of_each_list_and_says_so(small: ModuleType, tmp_path: Path) -> None:
    small.main(["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--limit", "2"])
    assert "at most 2 images a list" in (tmp_path / "out" / "accuracy.md").read_text()
    lists = json.loads((tmp_path / "out" / "accuracy.json").read_text())["lists"]
    assert [i["id"] for i in lists["all"]["networks"]["nowhere"]["images"]] == ["cvc-clinicdb/001", "cvc-clinicdb/400"]


def test_pictures_of_patients_are_not_drawn_into_the_repository(
    small: ModuleType, tmp_path: Path, project_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = project_root / "benchmarks" / "worst"
    with pytest.raises(SystemExit) as ended:
        small.main(["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--sheets", str(inside)])
    assert ended.value.code == 2
    assert "name a folder outside" in capsys.readouterr().err
    assert not inside.exists()


def test_a_list_that_is_not_there_is_an_error_of_one_line(small: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "data" / "splits" / "first.txt").unlink()
    with pytest.raises(SystemExit) as ended:
        small.main(["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")])
    assert str(ended.value.code).startswith("error: ")
    assert "first.txt" in str(ended.value.code)


def test_the_halves_of_clinicdb_are_whole_sequences_and_together_all_frames(accuracy: ModuleType) -> None:
    halves = [read_split(accuracy.HERE / "splits" / part.split) for part in (accuracy.FIRST_HALF, accuracy.SECOND_HALF)]
    frames = [[frame_number(id.removeprefix("cvc-clinicdb/")) for id in half] for half in halves]
    assert sorted(f for half in frames for f in half if f is not None) == list(range(1, NUM_FRAMES + 1))
    sequences = [{sequence_of(f) for f in half if f is not None} for half in frames]
    assert sequences == [set(range(1, 16)), set(range(16, 30))]


def test_every_list_has_a_network_and_every_network_a_list_and_a_name(accuracy: ModuleType) -> None:
    names = {spec.name for spec in accuracy.LISTS}
    assert {name for network in accuracy.NETWORKS for name in network.lists} == names
    assert len({network.name for network in accuracy.NETWORKS}) == len(accuracy.NETWORKS)
    parts = {part.name for spec in accuracy.LISTS for part in spec.parts}
    assert set(accuracy.CHARTED) <= names | parts
    assert set(accuracy.WEIGHTS.glob("*.safetensors")) <= {network.file for network in accuracy.NETWORKS}


def test_panels_lie_side_by_side_above_one_legend() -> None:
    chart = plot(Axis("x", 0, 1), Axis("y", 0, 1), lines=[Line("a", ((0, 0), (1, 1)), "#000")], title="t")
    root = ElementTree.fromstring(panels([chart] * 3, names=[("a < b", "#000")], title="three"))
    at = [(inner.get("x"), inner.get("y")) for inner in root.findall(f"{SVG}svg")]
    assert at == [("0", "0"), ("640", "0"), ("0", "380")]
    assert [text.text for text in root.findall(f"{SVG}text")] == ["a < b"]
    width, height = (float(v) for v in str(root.get("viewBox")).split()[2:])
    assert width == 1280
    assert height > 760
