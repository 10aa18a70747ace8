"""Names that a split list can hold, and names that it cannot."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from lawder_edge.data.check import check_folder
from lawder_edge.data.datasets import find_samples, listed_samples, read_split
from lawder_edge.data.listing import can_be_listed, entries
from lawder_edge.errors import BadDataset

Builder = Callable[..., Path]

NOT_UTF8 = os.fsdecode(b"polyp\xff")
LOST = ["polyp #0", "polyp\t#0", "polyp ", " polyp", "polyp\u00a0", "po\nlyp", "po\rlyp", "po\u2028lyp", NOT_UTF8]


@pytest.fixture
def build(build_folder: Builder) -> Callable[[str], Path]:
    """A folder `set` of two pairs: `polyp`, and one of another name."""

    def _build(stem: str) -> Path:
        try:
            return build_folder("set", ["polyp", stem])
        except OSError as error:
            pytest.skip(f"no file of such a name here: {error}")

    return _build


def test_a_number_sign_within_a_name_is_part_of_it(build: Callable[[str], Path], tmp_path: Path) -> None:
    folder = build("polyp#0")
    ids = [sample.id for sample in find_samples(folder)]
    assert ids == ["set/polyp", "set/polyp#0"]
    split = tmp_path / "val.txt"
    # As a training writes its val.txt.
    split.write_bytes("".join(f"{id}\n" for id in ids).encode())
    assert read_split(split) == tuple(ids)
    split.write_text("  # the second\nset/polyp#0 # of two\n")
    assert [sample.image.name for sample in listed_samples(folder, [split])] == ["polyp#0.png"]


@pytest.mark.parametrize("stem", LOST, ids=ascii)
def test_a_name_that_a_list_would_not_give_back_is_refused_with_its_file(
    stem: str, build: Callable[[str], Path]
) -> None:
    folder = build(stem)
    with pytest.raises(BadDataset) as refused:
        find_samples(folder)
    said = str(refused.value)
    assert "set: 1 images have names that a split list cannot hold" in said
    assert "rename them" in said
    assert repr(f"images/{stem}.png") in said
    said.encode()


@pytest.mark.parametrize("stem", LOST, ids=ascii)
def test_the_check_names_such_files_and_looks_at_the_others(stem: str, build: Callable[[str], Path]) -> None:
    folder = build(stem)
    Image.new("L", (20, 10)).save(folder / "masks" / "polyp.png")
    report = check_folder(folder)
    errors = [finding for finding in report.findings if finding.severity == "error"]
    assert [finding.items for finding in errors] == [(repr(f"images/{stem}.png"),), ("set/polyp",)]
    assert "rename them" in errors[0].message
    assert "its mask 20x10" in errors[1].message
    assert report.datasets[0].images == 1


@pytest.mark.parametrize("name", ["#1", "a #1", " a", NOT_UTF8], ids=ascii)
def test_a_folders_name_counts_as_its_files_do(name: str, build_folder: Builder) -> None:
    try:
        folder = build_folder(name, ["x"])
    except OSError as error:
        pytest.skip(f"no folder of such a name here: {error}")
    with pytest.raises(BadDataset, match=r"or the folder if it is its name: 'images/x\.png'"):
        find_samples(folder)
    assert check_folder(folder).severity == "error"


@given(names=st.lists(st.text(st.characters(codec="utf-8"), min_size=1), unique=True))
@example(names=["\ufeffa/1", "a/1#", "a/#1", "#", "a/1 #", "a\x1cb"])
def test_what_can_be_listed_is_read_back_in_a_list_of_any_others(names: list[str]) -> None:
    listed = [name for name in names if can_be_listed(name)]
    assert entries("".join(f"{name}\n" for name in listed).encode()) == listed
