from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lawder_edge.errors import BadInput
from lawder_edge.video import clip as clip_module
from lawder_edge.video import drawn
from lawder_edge.video.clip import SEGMENT_S, ProceduralClip, read_code
from lawder_edge.video.frames import Source

SIZE = (120, 160)
FPS = 10.0
SEGMENT = round(SEGMENT_S * FPS)


@pytest.fixture(scope="module")
def clip() -> ProceduralClip:
    return ProceduralClip(seed=3, size=SIZE, fps=FPS)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def test_the_same_seed_gives_the_same_frames_in_any_order_and_another_seed_other_ones(clip: ProceduralClip) -> None:
    again, other = ProceduralClip(seed=3, size=SIZE, fps=FPS), ProceduralClip(seed=4, size=SIZE, fps=FPS)
    late_first = [again.picture_of(n) for n in (70, 5)]

    assert np.array_equal(late_first[0], clip.picture_of(70))
    assert np.array_equal(late_first[1], clip.picture_of(5))
    assert not np.array_equal(other.picture_of(5), clip.picture_of(5))


def test_it_reads_as_a_source_and_ends_after_its_frames() -> None:
    source: Source = ProceduralClip(seed=1, size=SIZE, fps=FPS, frames=3)
    frames = [source.read() for _ in range(4)]

    assert [f.number for f in frames if f] == [0, 1, 2]
    assert frames[3] is None
    assert frames[0] is not None
    assert frames[0].image.shape == (*SIZE, 3)
    assert frames[0].image.dtype == np.uint8


def test_a_closed_clip_gives_nothing_more() -> None:
    source = ProceduralClip(seed=1, size=SIZE, fps=FPS)
    assert source.read() is not None
    source.close()
    source.close()
    assert source.read() is None


def test_polyps_come_and_go_and_the_lens_touches_no_polyp(clip: ProceduralClip) -> None:
    shown = np.array([clip.mask_of(n).any() for n in range(5 * SEGMENT)]).reshape(5, SEGMENT)

    assert shown.any(axis=1).tolist() == [True, False, True, True, False]
    assert not shown[:, :3].any()
    assert not shown[:, -3:].any()
    areas = [clip.mask_of(n).mean() for n in (27, 33)]
    assert all(0.003 < a < 0.3 for a in areas)


def test_the_motion_is_exact_for_the_mask_and_for_the_picture(clip: ProceduralClip) -> None:
    gains = []
    for n in (27, 33, 40):
        motion = clip.came_from(n)
        assert motion is not None
        before = cv2.remap(clip.mask_of(n - 1) * np.uint8(255), *motion, cv2.INTER_LINEAR) >= 128
        assert iou(before, clip.mask_of(n) > 0) > 0.93
        # The middle, which no border crosses.
        middle = np.s_[30:90, 40:120]
        now, was = clip.picture_of(n).astype(int), clip.picture_of(n - 1)
        moved = cv2.remap(was, *motion, cv2.INTER_LINEAR).astype(int)
        gains.append(np.abs(now - moved)[middle].mean() / np.abs(now - was)[middle].mean())
    assert np.mean(gains) < 0.7


def test_a_frame_at_another_place_is_marked_as_a_cut_and_has_no_motion() -> None:
    source = ProceduralClip(seed=3, size=SIZE, fps=FPS, frames=SEGMENT + 2)
    cuts = []
    while (frame := source.read()) is not None:
        cuts += [frame.number] if frame.cut else []

    assert cuts == [0, SEGMENT]
    assert source.came_from(SEGMENT) is None
    assert source.came_from(0) is None


def test_no_polyp_is_marked_outside_the_scopes_view_or_under_the_code(clip: ProceduralClip) -> None:
    for n in range(0, 5 * SEGMENT, 7):
        mask, picture = clip.mask_of(n) > 0, clip.picture_of(n)
        assert not mask.any() or picture[mask].min() >= 0
        assert not mask[-4:, -112:].any()
        assert (picture[mask].max(axis=1) > 20).mean() > 0.9 if mask.any() else True


@settings(max_examples=60, deadline=None)
@given(number=st.integers(0, 2**20 - 1), quality=st.integers(50, 95), level=st.integers(0, 255))
def test_the_code_outlives_compression(number: int, quality: int, level: int) -> None:
    picture = np.full((120, 160, 3), level, np.uint8)
    clip_module._draw_code(picture, number)
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])

    assert read_code(cv2.imdecode(data, cv2.IMREAD_COLOR)) == number


@settings(max_examples=60, deadline=None)
@given(number=st.integers(0, 2**20 - 1), flipped=st.integers(0, 27))
def test_a_code_with_a_wrong_block_is_not_read(number: int, flipped: int) -> None:
    picture = np.zeros((120, 160, 3), np.uint8)
    clip_module._draw_code(picture, number)
    block = np.s_[116:, 48 + 4 * flipped : 52 + 4 * flipped]
    picture[block] = 255 - picture[block]

    assert read_code(picture) is None


def test_a_picture_without_a_code_has_none(clip: ProceduralClip) -> None:
    assert read_code(np.zeros((120, 160, 3), np.uint8)) is None
    assert read_code(np.full((20, 20, 3), 255, np.uint8)) is None
    assert read_code(clip.picture_of(12)[:-8]) is None
    assert read_code(clip.picture_of(12)) == 12


def test_as_a_camera_it_gives_each_frame_at_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(drawn.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(drawn.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))
    camera = ProceduralClip(seed=3, size=SIZE, fps=FPS, live=True)

    times = [f.captured_s for _ in range(4) if (f := camera.read()) is not None]

    assert times == pytest.approx([100.0, 100.1, 100.2, 100.3])


@pytest.mark.parametrize("wrong", [{"size": (40, 160)}, {"size": (120, 60)}, {"fps": 0.0}, {"frames": 0}])
def test_a_clip_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="wanted"):
        ProceduralClip(**{"size": SIZE, "fps": FPS, **wrong})  # type: ignore[arg-type]
