"""The images that an artifact is verified on."""

from __future__ import annotations

from pathlib import Path

import pytest

from lawder_edge.errors import BadInput
from lawder_edge.exporting.images import images_of


def test_lists_without_the_folder_of_their_images_are_refused() -> None:
    with pytest.raises(BadInput, match=r"--split test\.txt lists images, .* Add --data"):
        images_of(None, (Path("test.txt"),), limit=0)


@pytest.mark.parametrize("data", [None, Path("polyps")])
def test_a_limit_below_none_at_all_is_refused(data: Path | None) -> None:
    with pytest.raises(BadInput, match="--limit -1: wanted the most images"):
        images_of(data, (), limit=-1)


@pytest.mark.parametrize(("limit", "count"), [(0, 8), (3, 3), (200, 8)])
def test_phantom_frames_are_eight_or_as_few_as_the_limit_says(limit: int, count: int) -> None:
    images = images_of(None, (), limit=limit)
    assert (images.source, images.count) == (f"{count} phantom frames", count)
    assert [pair.id for pair in images.read()] == [f"phantom/{n:03d}" for n in range(count)]
