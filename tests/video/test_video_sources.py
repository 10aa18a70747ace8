from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from video_parts import spotted, write_video

from lawder_edge.errors import BadInput, Unavailable
from lawder_edge.video.frames import Frame, Source
from lawder_edge.video.live import without_password
from lawder_edge.video.opening import open_source
from lawder_edge.video.sources import FileSource, FolderSource, to_rgb


def read_all(source: Source) -> list[Frame]:
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    return frames


def damaged(path: Path, start: float, end: float) -> Path:
    """A copy with the bytes between two shares of the file replaced by noise."""
    data = bytearray(path.read_bytes())
    first, last = int(start * len(data)), int(end * len(data))
    data[first:last] = np.random.default_rng(0).integers(0, 256, last - first, dtype=np.uint8).tobytes()
    out = path.with_name("damaged" + path.suffix)
    out.write_bytes(data)
    return out


@pytest.fixture(scope="module")
def webm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames, VP8: the decoder needs each frame for the next."""
    return write_video(tmp_path_factory.mktemp("video") / "a.webm", [spotted(i) for i in range(40)], codec="VP80")


@pytest.fixture(scope="module")
def avi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames, Motion JPEG: each stands for itself."""
    return write_video(tmp_path_factory.mktemp("video") / "a.avi", [spotted(i) for i in range(40)], codec="MJPG")


def test_a_video_file_is_read_frame_by_frame_in_rgb(avi: Path) -> None:
    source = open_source(str(avi))
    frames = read_all(source)
    assert not source.live
    assert source.fps == 25
    assert [f.number for f in frames] == list(range(40))
    assert [f.cut for f in frames] == [True] + [False] * 39
    # Motion JPEG keeps the square green.
    assert frames[3].image[36, 36].argmax() == 1
    assert source.said() == ""


def test_corrupt_frames_in_the_middle_are_left_out_and_counted(avi: Path, webm: Path) -> None:
    for path in (avi, webm):
        source = FileSource(damaged(path, 0.5, 0.6))
        frames = read_all(source)
        assert 0 < len(frames) < 40
        assert source.skipped == 40 - len(frames)
        assert f"{source.skipped} " in source.said()


def test_what_was_remembered_is_forgotten_where_frames_are_missing(webm: Path) -> None:
    cuts = [f.number for f in read_all(FileSource(damaged(webm, 0.5, 0.6))) if f.cut]
    assert len(cuts) == 2
    assert cuts[0] == 0


def paced(data: bytes, spans: list[tuple[int, int]]) -> bytes:
    """Boxes of an MP4 that is not fragmented, with other times. spans: frames, and how many intervals each of them
    lasts.
    """
    out, at = b"", 0
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        inner = data[at + 8 : at + length]
        at += length
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            inner = paced(inner, spans)
        if kind == b"stts":
            interval = struct.unpack(">II", inner[8:16])[1]
            entries = [struct.pack(">II", count, interval * lasts) for count, lasts in spans]
            inner = struct.pack(">II", 0, len(spans)) + b"".join(entries)
        # The list of edits tells a length of the whole that is no longer its own.
        if kind != b"edts":
            out += struct.pack(">I4s", 8 + len(inner), kind) + inner
    return out


@pytest.mark.parametrize(
    ("spans", "cuts"),
    [([(20, 1), (20, 2), (20, 1)], [0]), ([(20, 1), (1, 10), (39, 1)], [0]), ([(20, 1), (1, 30), (39, 1)], [0, 21])],
    ids=["half the rate", "a third of a second", "a second"],
)
def test_of_a_varying_rate_no_frame_is_missing_and_only_a_long_gap_is_a_cut(
    spans: list[tuple[int, int]], cuts: list[int], tmp_path: Path
) -> None:
    even = write_video(tmp_path / "even.mp4", [spotted(i) for i in range(60)], codec="mp4v", fps=30.0)
    path = tmp_path / "varying.mp4"
    path.write_bytes(paced(even.read_bytes(), spans))
    source = FileSource(path)
    frames = read_all(source)
    assert len(frames) == 60
    assert [f.number for f in frames if f.cut] == cuts
    assert (source.skipped, source.said()) == (0, "")


def test_a_slow_file_at_its_own_pace_holds_no_cuts(tmp_path: Path) -> None:
    path = write_video(tmp_path / "slow.mp4", [spotted(i) for i in range(6)], codec="mp4v", fps=1.0)
    assert [f.cut for f in read_all(FileSource(path))] == [True] + [False] * 5


def test_a_truncated_video_plays_to_where_it_ends_and_says_so(webm: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.webm"
    path.write_bytes(webm.read_bytes()[: webm.stat().st_size // 2])
    source = FileSource(path)
    frames = read_all(source)
    assert 5 < len(frames) < 35
    told = f"{len(frames)} frames came, {40 - len(frames)} fewer than the file's length and rate make: it is damaged"
    assert source.said().startswith(told)


def ebml_number(data: bytes, at: int, *, marked: bool) -> tuple[int, int]:
    """A number of WebM and where it ends. marked: whether the bit that tells its length is part of it, as in ids."""
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big")
    return value if marked else value & ((1 << 7 * length) - 1), at + length


def retimed(data: bytes, times_ms: list[int]) -> bytes:
    """A WebM file with other times of its frames, and as long as they are."""
    segment, info, cluster, cluster_time, block, duration = 0x18538067, 0x1549A966, 0x1F43B675, 0xE7, 0xA3, 0x4489
    out, at, base, left = bytearray(data), 0, 0, list(times_ms)
    while at < len(data):
        kind, at = ebml_number(data, at, marked=True)
        size, at = ebml_number(data, at, marked=False)
        if kind in (segment, info, cluster):
            continue
        if kind == cluster_time:
            base = int.from_bytes(data[at : at + size], "big")
        elif kind == block:
            out[at + 1 : at + 3] = struct.pack(">h", left.pop(0) - base)
        elif kind == duration:
            out[at : at + size] = struct.pack(">d", times_ms[-1] + 40)
        at += size
    assert not left
    return bytes(out)


def test_a_webm_of_varying_rate_is_not_called_damaged_for_sure(webm: Path, tmp_path: Path) -> None:
    path = tmp_path / "varying.webm"
    path.write_bytes(retimed(webm.read_bytes(), [40 * i for i in range(20)] + [800 + 80 * i for i in range(20)]))
    source = FileSource(path)
    assert len(read_all(source)) == 40
    # 2.36 s at the 25 frames a second that the track tells are 59.
    assert source.skipped == 19
    told = "40 frames came, 19 fewer than the file's length and rate make: it is damaged, or its rate varies"
    assert source.said() == told


def test_frames_of_a_container_that_counts_them_are_missing_for_sure(avi: Path) -> None:
    source = FileSource(damaged(avi, 0.5, 0.6))
    assert len(read_all(source)) < 40
    assert "of 40 frames of the file could not be decoded" in source.said()


def test_files_that_are_no_videos_are_refused_with_the_reason(tmp_path: Path, webm: Path) -> None:
    empty, noise, cut = tmp_path / "empty.mp4", tmp_path / "noise.mp4", tmp_path / "cut.mp4"
    empty.touch()
    noise.write_bytes(bytes(range(256)) * 40)
    cut.write_bytes(write_video(tmp_path / "whole.mp4", [spotted(0)] * 5, codec="mp4v").read_bytes()[:2000])
    for path, words in (
        (empty, "0 bytes"),
        (noise, "no video"),
        (cut, "truncated"),
        (tmp_path / "none.mp4", "no such"),
    ):
        with pytest.raises(BadInput, match=words):
            open_source(str(path))


def test_a_folder_plays_its_images_in_natural_order_whatever_they_are(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "10.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "9.png")
    Image.fromarray(np.dstack([grey] * 3)).save(tmp_path / "11.png")
    Image.fromarray(np.dstack([grey] * 3).swapaxes(0, 1)).save(tmp_path / "100.png")
    frames = read_all(open_source(str(tmp_path)))
    assert [f.image.shape for f in frames] == [(40, 60, 3)] * 3 + [(60, 40, 3)]
    for frame in frames[:3]:
        np.testing.assert_array_equal(frame.image, np.dstack([grey] * 3))
    # Another size is another scene.
    assert [f.cut for f in frames] == [True, False, False, True]


def test_a_pattern_and_a_single_image_are_folders_of_what_they_name(tmp_path: Path) -> None:
    for name in ("a1.png", "a2.png", "b1.png"):
        Image.fromarray(spotted(0)).save(tmp_path / name)
    assert len(read_all(open_source(str(tmp_path / "a*.png")))) == 2
    assert len(read_all(open_source(str(tmp_path / "b1.png")))) == 1
    with pytest.raises(BadInput, match="no images"):
        open_source(str(tmp_path / "c*.png"))


def test_images_that_cannot_be_read_are_left_out_and_counted(tmp_path: Path) -> None:
    for i in range(4):
        Image.fromarray(spotted(i)).save(tmp_path / f"{i}.png")
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "2.png").write_bytes((tmp_path / "3.png").read_bytes()[:200])
    source = open_source(str(tmp_path))
    assert isinstance(source, FolderSource)
    assert len(read_all(source)) == 2
    assert source.skipped == 2
    assert "2 images left out" in source.said()


def test_a_folder_without_one_readable_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(BadInput, match="none of 1 images"):
        open_source(str(tmp_path)).read()


def test_whatever_opencv_decodes_becomes_8_bit_rgb() -> None:
    bgr = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_rgb(bgr), bgr[..., ::-1])
    np.testing.assert_array_equal(to_rgb(np.dstack([bgr, bgr[..., :1]])), bgr[..., ::-1])
    np.testing.assert_array_equal(to_rgb(bgr[..., 0]), np.dstack([bgr[..., 0]] * 3))
    np.testing.assert_array_equal(to_rgb(bgr[..., :1]), np.dstack([bgr[..., 0]] * 3))
    np.testing.assert_array_equal(to_rgb(bgr.astype(np.uint16) << 8 | 3), bgr[..., ::-1])


@pytest.mark.skipif(cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER), reason="this OpenCV has GStreamer")
def test_a_gstreamer_pipeline_says_what_is_missing() -> None:
    with pytest.raises(Unavailable, match="without GStreamer"):
        open_source("v4l2src ! videoconvert ! appsink")


def test_a_camera_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadInput, match="camera 97 cannot be opened"):
        open_source("97")


def test_no_password_of_an_address_is_shown() -> None:
    assert without_password("rtsp://me:s3cret@host:554/a@b") == "rtsp://host:554/a@b"
    assert without_password("http://host/x") == "http://host/x"
    with pytest.raises(BadInput) as refusal:
        open_source("rtsp://me:s3cret@127.0.0.1:9/none")
    assert "s3cret" not in str(refusal.value)


def test_a_rate_that_cannot_be_is_refused(tmp_path: Path) -> None:
    for fps in (0.0, -1.0, 1e9, float("inf"), float("nan")):
        with pytest.raises(BadInput, match="more than 0 frames a second, and 1000 at most"):
            open_source(str(tmp_path), fps=fps)


def y4m(path: Path, planes: list[np.ndarray], *, kind: str) -> Path:
    """An uncompressed video of one frame. planes: Y, and for colour Cb and Cr at half the size."""
    height, width = planes[0].shape
    head = f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C{kind}\nFRAME\n".encode()
    path.write_bytes(head + b"".join(p.tobytes() for p in planes))
    return path


def test_10_bit_video_is_read_as_8_bit(tmp_path: Path) -> None:
    luma = np.tile(np.linspace(64, 940, 64).astype("<u2"), (48, 1))
    chroma = np.full((24, 32), 512, "<u2")
    (frame,) = read_all(open_source(str(y4m(tmp_path / "a.y4m", [luma, chroma, chroma], kind="420p10"))))
    assert frame.image.shape == (48, 64, 3)
    # From black to white in the same steps, and grey throughout.
    row = frame.image[24].astype(int)
    assert np.abs(row - np.linspace(0, 255, 64)[:, None]).max() <= 4


def test_a_grey_video_is_read_as_rgb(tmp_path: Path) -> None:
    luma = np.tile(np.arange(16, 80, dtype=np.uint8), (48, 1))
    (frame,) = read_all(open_source(str(y4m(tmp_path / "a.y4m", [luma], kind="mono"))))
    assert frame.image.shape == (48, 64, 3)
    assert (frame.image == frame.image[..., :1]).all()
    assert frame.image[0, 63, 0] > frame.image[0, 0, 0]
