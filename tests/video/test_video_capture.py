from __future__ import annotations

import threading
import time

import pytest
from video_parts import ListSource, spotted

from lawder_edge.video.capture import Capture, Slot
from lawder_edge.video.frames import Controls, Frame


def drained(capture: Capture) -> list[Frame]:
    """Everything that it gives, taken as it comes."""
    capture.start()
    frames = []
    while not capture.slot.ended:
        frame = capture.slot.take(0.05)
        if frame is not None:
            frames.append(frame)
    capture.join(30)
    return frames


IMAGES = [spotted(i) for i in range(6)]


def test_a_slot_waits_until_it_is_emptied() -> None:
    slot: Slot[int] = Slot()
    slot.put(1, stop=lambda: False)
    second = threading.Thread(target=slot.put, args=(2,), kwargs={"stop": lambda: False})
    second.start()
    assert slot.take(30) == 1
    second.join(30)
    assert slot.take(0) == 2
    assert slot.take(0) is None


def test_a_closed_slot_can_still_be_emptied_and_then_has_ended() -> None:
    slot: Slot[int] = Slot()
    slot.put(1, stop=lambda: False)
    slot.close()
    assert not slot.ended
    assert slot.take(0) == 1
    assert slot.ended
    slot.put(2, stop=lambda: False)
    assert slot.ended


def test_of_a_file_every_frame_is_kept_in_order() -> None:
    capture = Capture(ListSource(IMAGES), Controls(), keep_up=False)
    assert [f.number for f in drained(capture)] == list(range(6))
    assert (capture.captured, capture.dropped) == (6, 0)


def test_of_a_camera_only_the_newest_frame_waits_and_a_cut_outlives_what_is_dropped() -> None:
    source = ListSource(IMAGES, live=True)
    capture = Capture(source, Controls(), keep_up=True)
    capture.start()
    capture.join(30)
    newest = capture.slot.take(0)
    assert newest is not None
    assert newest.number == 5
    assert newest.cut
    assert (capture.captured, capture.dropped) == (6, 5)


def test_frames_are_left_out_as_asked_and_counted() -> None:
    capture = Capture(ListSource(IMAGES), Controls(), keep_up=False, skip=2)
    assert [f.number for f in drained(capture)] == [0, 3]
    assert capture.dropped == 4


def test_it_ends_after_as_many_frames_as_were_asked_for() -> None:
    capture = Capture(ListSource(IMAGES), Controls(), keep_up=False, frames=4)
    assert len(drained(capture)) == 4


def test_an_error_of_the_source_is_kept_for_who_asks() -> None:
    source = ListSource(IMAGES[:2])
    source.error = ValueError("broken")
    capture = Capture(source, Controls(), keep_up=False)
    assert len(drained(capture)) == 2
    with pytest.raises(ValueError, match="broken"):
        raise capture.error or AssertionError


def test_no_frame_of_a_file_comes_before_its_time() -> None:
    capture = Capture(ListSource(IMAGES[:4]), Controls(), keep_up=False, played=True)
    started_s = time.monotonic()
    frames = drained(capture)
    assert len(frames) == 4
    assert all(f.captured_s >= started_s + f.number / ListSource.fps for f in frames)


def test_a_file_of_which_frames_are_left_out_keeps_its_pace() -> None:
    # Of 25 frames a second, every third; and ten, which are every second and every third by turns.
    for options, kept in (({"skip": 2}, [0, 3, 6]), ({"max_fps": 10.0}, [0, 2, 5])):
        source = ListSource([*IMAGES, *IMAGES[:1]])
        capture = Capture(source, Controls(), keep_up=False, played=True, **options)  # type: ignore[arg-type]
        started_s = time.monotonic()
        frames = drained(capture)
        assert [f.number for f in frames] == kept
        assert all(f.captured_s >= started_s + f.number / ListSource.fps for f in frames)
        assert capture.dropped == 4


def test_a_rate_is_kept_to_by_a_files_own_time_and_not_waited_for() -> None:
    capture = Capture(ListSource(IMAGES), Controls(), keep_up=False, max_fps=0.001)
    assert [f.number for f in drained(capture)] == [0]
