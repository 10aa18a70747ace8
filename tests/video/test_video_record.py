from __future__ import annotations

import dataclasses
import json
import os
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from video_parts import Kept, ListSource, found, read_video, segmenter, spotted, truth

from lawder_edge.errors import BadInput, OutputExists
from lawder_edge.video import record
from lawder_edge.video.frames import Controls, Segmented, Status
from lawder_edge.video.pipeline import Pipeline, Setting
from lawder_edge.video.record import ClipWriter, Recorder, fit, open_writer

ROOMY = 1 << 40


def write(path: Path, images: list[np.ndarray], **options: object) -> ClipWriter:
    clip = ClipWriter(path, fps=25, live=False, **options)  # type: ignore[arg-type]
    for i, image in enumerate(images):
        clip.show(image, found(image, number=i), Status())
    clip.close()
    return clip


@pytest.mark.parametrize(("suffix", "codecs"), [(".webm", {"VP80"}), (".mp4", {"avc1", "mp4v"}), (".avi", {"MJPG"})])
def test_a_clip_holds_every_picture_in_order(suffix: str, codecs: set[str], tmp_path: Path) -> None:
    images = [spotted(i) for i in range(6)]
    clip = write(tmp_path / f"clip{suffix}", images)
    back = read_video(clip.path)
    assert clip.codec in codecs
    assert len(back) == clip.written == 6
    for image, again in zip(images, back, strict=True):
        assert np.abs(again.astype(int) - image).mean() < 30
        assert (cv2.boundingRect(truth(image).astype(np.uint8))[0] > 0) == (image[36, 2].argmax() == 0)
    assert sorted(p.name for p in tmp_path.iterdir()) == [clip.path.name]


def test_webm_is_vp9_where_that_is_asked_for(tmp_path: Path) -> None:
    clip = write(tmp_path / "clip.webm", [spotted(i) for i in range(3)], vp9=True)
    assert clip.codec == "VP90"
    assert len(read_video(clip.path)) == 3


def test_pictures_of_odd_and_changing_sizes_fit_into_the_first_size(tmp_path: Path) -> None:
    images = [spotted(1, size=(97, 129)), spotted(1, size=(200, 100)), spotted(1, size=(300, 400))]
    back = read_video(write(tmp_path / "clip.webm", images).path)
    assert [b.shape for b in back] == [(96, 128, 3)] * 3
    # A portrait picture stands in the middle, between black.
    assert back[1][:, :30].max() < 30
    assert back[1][:, 60:70].max() > 100


def test_a_picture_that_fits_is_not_copied() -> None:
    image = spotted(0)
    assert fit(image, (96, 128)) is image


def test_nothing_is_overwritten_and_no_suffix_is_guessed(tmp_path: Path) -> None:
    path = tmp_path / "clip.webm"
    path.write_text("precious")
    with pytest.raises(OutputExists, match="--overwrite"):
        ClipWriter(path, fps=25, live=False)
    with pytest.raises(BadInput, match=r"\.webm, \.mp4"):
        ClipWriter(tmp_path / "clip.gif", fps=25, live=False)
    assert path.read_text() == "precious"
    write(path, [spotted(0)] * 2, overwrite=True)
    assert len(read_video(path)) == 2


def test_where_no_picture_came_what_stood_there_is_left(tmp_path: Path) -> None:
    path = tmp_path / "clip.webm"
    path.write_text("precious")
    write(path, [], overwrite=True)
    assert path.read_text() == "precious"


def test_a_live_clip_runs_as_fast_as_the_clock_whatever_comes_when(tmp_path: Path) -> None:
    from lawder_edge.video.frames import Frame

    clip = ClipWriter(tmp_path / "clip.webm", fps=10, live=True)
    for number, at_s in enumerate((0.0, 0.1, 0.5, 0.52, 1.0)):
        image = spotted(number)
        mask = np.zeros(image.shape[:2], np.uint8)
        clip.show(image, Segmented(Frame(number, 100 + at_s, image), mask * 0.5, mask, 1, 1, 1, alarm=False), Status())
    clip.close()
    # A second is ten pictures and the first; the gap of 0.4 s is filled, what came 20 ms later has no place of its own.
    assert len(read_video(clip.path)) == 11


def test_pictures_that_a_slow_encoder_misses_are_not_made_up_for_by_repeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(*given: Any, **options: Any) -> Any:
        begun.set()
        go_on.wait(30)
        return open_writer(*given, **options)

    monkeypatch.setattr(record, "open_writer", slow)
    clip = ClipWriter(tmp_path / "clip.webm", fps=10, live=True)
    for number in range(40):
        picture = found(spotted(number), number=number)
        frame = dataclasses.replace(picture.frame, captured_s=100 + number / 10)
        clip.show(picture.frame.image, dataclasses.replace(picture, frame=frame), Status())
        if number == 0:
            assert begun.wait(30)
    go_on.set()
    clip.close()
    # The one in work and eight that waited; the others are lost, and so is their time.
    assert (clip.missed, clip.written) == (31, 9)


def test_a_full_disk_ends_the_clip_with_what_was_written_whole(tmp_path: Path) -> None:
    left = [ROOMY] * 4 + [1 << 20] * 100
    clip = write(tmp_path / "clip.webm", [spotted(i) for i in range(30)], free=lambda folder: left.pop(0))
    assert "the disk is full" in clip.stopped
    assert len(read_video(clip.path)) == 4


def test_a_recording_holds_pictures_masks_and_a_line_a_frame(tmp_path: Path) -> None:
    controls = Controls()
    controls.recording = True
    recorder = Recorder(tmp_path, controls, fps=25, live=False)
    source = ListSource([spotted(i) for i in range(5)])
    Pipeline(source, [segmenter()], controls, recorders=[recorder], setting=Setting(blur_text=False)).run()
    (folder,) = recorder.recordings
    lines = [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(5))
    assert len(read_video(folder / "video.webm")) == 5
    for line in lines:
        mask = cv2.imread(str(folder / line["mask"]), cv2.IMREAD_UNCHANGED)
        assert set(np.unique(mask)) == {0, 255}
        assert line["area_fraction"] == pytest.approx((mask > 0).mean())
        assert line["confidence"] > 0.9
    assert [line["alarm"] for line in lines][-1] is True


def test_recording_starts_and_stops_with_the_key_each_time_in_a_folder_of_its_own(tmp_path: Path) -> None:
    controls = Controls()
    recorder = Recorder(tmp_path, controls, fps=25, live=False)
    for number, on in enumerate((False, True, True, False, True, True)):
        controls.recording = on
        image = spotted(number)
        recorder.show(image, found(image, number=number), Status())
    recorder.close()
    first, second = recorder.recordings
    assert [len((f / "frames.jsonl").read_text().splitlines()) for f in (first, second)] == [2, 2]
    assert [len(read_video(f / "video.webm")) for f in (first, second)] == [2, 2]


def test_a_full_disk_ends_the_recording_and_never_the_video(tmp_path: Path) -> None:
    controls = Controls()
    controls.recording = True
    shown: list[int] = []
    left = [ROOMY] * 6 + [1 << 20] * 100
    recorder = Recorder(tmp_path, controls, fps=25, live=False, free=lambda folder: left.pop(0))
    source = ListSource([spotted(i, size=(240, 640)) for i in range(12)])
    viewer = Kept()
    outcome = Pipeline(
        source, [segmenter()], controls, viewers=[viewer], recorders=[recorder], on_progress=shown.append,
        notes=lambda: [recorder.stopped],
    ).run()  # fmt: skip
    # The warning stands on the picture from then on, below the finding.
    told = [(np.abs(p[18:30].astype(int) - (213, 94, 0)).max(axis=2) < 40).sum() for p in viewer.pictures]
    assert told[1] == 0
    assert told[-1] > 20
    assert outcome.shown == 12
    assert "the disk is full" in recorder.stopped
    assert not controls.recording
    (folder,) = recorder.recordings
    lines = (folder / "frames.jsonl").read_text().splitlines()
    assert 0 < len(lines) < 12
    assert all(json.loads(line)["frame"] == i for i, line in enumerate(lines))
    assert 0 < len(read_video(folder / "video.webm")) <= len(lines)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_line_that_cannot_be_written_ends_the_recording(tmp_path: Path) -> None:
    controls = Controls()
    controls.recording = True
    recorder = Recorder(tmp_path, controls, fps=25, live=False)
    image = spotted(0)
    recorder.show(image, found(image, number=0), Status())
    with Path("/dev/full").open("w", buffering=1) as full:
        recorder._lines = full
        recorder.show(image, found(image, number=1), Status())
        recorder._lines = None
    assert recorder.stopped == "recording ended: the disk is full"
    assert len(read_video(recorder.recordings[0] / "video.webm")) == 1


def test_text_in_the_picture_is_unreadable_in_what_is_recorded_and_readable_for_who_looks_on(tmp_path: Path) -> None:
    image = cv2.GaussianBlur(spotted(3, size=(240, 320)), (0, 0), 1)
    cv2.putText(image, "DOE JANE 1961", (20, 150), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1)
    for blur_text in (True, False):
        watching, recording = Kept(), Kept()
        setting = Setting(blur_text=blur_text, judge=False)
        seen_by = {"viewers": [watching], "recorders": [recording]}
        Pipeline(ListSource([image] * 2), [segmenter()], Controls(), setting=setting, **seen_by).run()
        assert watching.pictures[0][130:155, 20:170].max() == 255
        assert (recording.pictures[0][130:155, 20:170].max() == 255) == (not blur_text)


@pytest.mark.parametrize("blur_text", [True, False])
def test_text_in_the_picture_is_unreadable_in_a_screenshot(blur_text: bool, tmp_path: Path) -> None:
    image = cv2.GaussianBlur(spotted(3, size=(240, 320)), (0, 0), 1)
    cv2.putText(image, "DOE JANE 1961", (20, 150), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1)
    controls = Controls()

    class Asking(Kept):
        def show(self, picture: np.ndarray, segmented: Segmented, status: Status) -> None:
            super().show(picture, segmented, status)
            controls.ask_screenshot()

    setting = Setting(blur_text=blur_text, judge=False, screenshots=tmp_path)
    outcome = Pipeline(ListSource([image]), [segmenter()], controls, viewers=[Asking()], setting=setting).run()
    (path,) = outcome.screenshots
    shown = cv2.imread(str(path))
    assert (shown[130:155, 20:170].max() == 255) == (not blur_text)


def test_two_encoders_that_open_at_once_leave_standard_error_where_it_was() -> None:
    kept, before = os.dup(2), os.fstat(2)
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        with record._quiet_stderr():
            first_in.set()
            # Long enough for the other to follow where it is let in; it is not, and comes when this one has left.
            second_in.wait(0.5)
        first_out.set()

    def second() -> None:
        first_in.wait(30)
        with record._quiet_stderr():
            second_in.set()
            first_out.wait(30)

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    after = os.fstat(2)
    os.dup2(kept, 2)
    os.close(kept)
    assert (after.st_dev, after.st_ino) == (before.st_dev, before.st_ino)
