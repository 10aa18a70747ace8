"""The list of kept synthetic pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lawder_edge.data.kept import KeptList, KeptRow, read_kept, write_kept
from lawder_edge.errors import BadDataset

LIST = KeptList(
    "ab" * 32, "no memorised ones", (KeptRow("a.png", True, None, 0.2, False), KeptRow("b.png", False, 0.5, 0.0, True))
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    assert read_kept(tmp_path) is None
    assert read_kept(write_kept(tmp_path, LIST).parent) == LIST
    assert LIST.names == {"a.png"}


@pytest.mark.parametrize(
    "harm", ["{", "[]", "{}", {"format": "another"}, {"pictures": [{"name": "a.png"}]}, {"pictures": 3}]
)
def test_a_list_that_does_not_read_says_what_to_do(harm: object, tmp_path: Path) -> None:
    file = write_kept(tmp_path, LIST)
    text = harm if isinstance(harm, str) else json.dumps({**json.loads(file.read_text()), **harm})  # type: ignore[dict-item]
    file.write_text(text)
    with pytest.raises(BadDataset, match=r"kept\.json: not the list .* remove the file to train on all pictures"):
        read_kept(tmp_path)
