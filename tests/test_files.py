"""Files and pictures on disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lawder_edge.errors import BadInput, OutputExists
from lawder_edge.files import make_way, read_given, write_png

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)


def test_only_a_file_makes_way_and_only_when_told(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "result.json"
    make_way(path, overwrite=False)
    assert [p.name for p in tmp_path.rglob("*")] == ["a", "b"]
    path.write_text("precious")
    with pytest.raises(OutputExists, match=r"result\.json exists.*--overwrite"):
        make_way(path, overwrite=False)
    make_way(path, overwrite=True)
    assert path.read_text() == "precious"
    with pytest.raises(OutputExists, match="b exists"):
        make_way(path.parent, overwrite=True)


@pytest.mark.parametrize("pixels", [GREY, COLOUR, DEEP], ids=["grey", "colour", "16 bit"])
def test_a_written_picture_reads_back_the_same(pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", pixels)
    with Image.open(tmp_path / "a.png") as found:
        np.testing.assert_array_equal(np.asarray(found), pixels)


def test_a_disk_that_fills_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_png(tmp_path / "a.png", GREY)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_png(tmp_path / "a.png", COLOUR)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    with Image.open(tmp_path / "a.png") as found:
        np.testing.assert_array_equal(np.asarray(found), GREY)


def test_a_file_that_is_not_there_to_be_read_is_told_with_what_was_wanted(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"old\.json: cannot be read \(No such file.*wanted a benchmark"):
        read_given(tmp_path / "old.json", wanted="a benchmark")
    (tmp_path / "old.json").write_bytes(b"{}")
    assert read_given(tmp_path / "old.json", wanted="a benchmark") == b"{}"
