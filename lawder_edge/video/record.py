"""Pictures to disk: a clip, and a recording with masks and a line a frame. Writes files.

A recording's pictures are those that are shown, with burnt-in text made unreadable unless it is asked for. Whatever
goes wrong with the disk ends the recording, with what was written whole, and never the video.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import cv2
import numpy as np

from lawder_edge.errors import BadInput, Unavailable
from lawder_edge.files import encode_png, make_way
from lawder_edge.video.frames import Controls, Image, Segmented, Status

# By suffix, those that a browser plays first. OpenCV's wheels hold no H.264 encoder; a system's OpenCV may. Of the two
# that WebM takes, VP9 needs 121 ms of CPU for a frame of the procedural clip at 480 x 360 and VP8 28 ms, for files of
# the same size: OpenCV cannot ask either for more speed.
_CODECS = {".webm": ("VP80", "VP90"), ".mp4": ("avc1", "mp4v"), ".mkv": ("VP80", "MJPG"), ".avi": ("MJPG",)}
VP9 = "VP90"
_WAITING = 8
# A recording ends while the disk still has room for the index at its end.
_LEAST_FREE_BYTES = 64 << 20
# Repeats of a picture that fill a gap: beyond it the clip is shorter than the time.
_LONGEST_GAP_S = 5.0

# Standard error is one for all threads: the second to set it aside would give back what the first one put there.
_stderr_lock = threading.Lock()

FreeBytes = Callable[[Path], int]


def free_bytes(folder: Path) -> int:
    """What the disk of a folder has left."""
    return shutil.disk_usage(folder).free


def check_clip(path: Path, *, overwrite: bool) -> None:
    """Make the clip's folder. Raises BadInput for a suffix that cannot be written, OutputExists as `make_way`."""
    if path.suffix.lower() not in _CODECS:
        raise BadInput(f"{path}: clips are written as {', '.join(_CODECS)}. Choose one of those suffixes.")
    make_way(path, overwrite=overwrite)


class ClipWriter:
    """A `Viewer` that writes one clip, encoded in a thread of its own. Under its name once it is whole.

    stopped: why it ended before its time, "" while it did not. codec: that it is written in, "" before the first
    picture. written: pictures in it. missed: pictures that the encoder had no time for.
    """

    def __init__(
        self,
        path: Path,
        *,
        fps: float,
        live: bool,
        vp9: bool = False,
        free: FreeBytes = free_bytes,
        overwrite: bool = False,
    ) -> None:
        """live: pictures come at their own time, so they are repeated or left out to keep that of the clip. vp9: as
        the encoder of WebM, where there is time for it.
        """
        check_clip(path, overwrite=overwrite)
        self.path = path
        self.stopped = ""
        self.codec = ""
        self.written = 0
        self.missed = 0
        self._fps, self._live, self._vp9, self._free = fps, live, vp9, free
        self._partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
        self._queue: queue.Queue[tuple[Image, int] | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self._last = -1
        self._first_s = 0.0
        self._slots = 0

    def show(self, picture: Image, segmented: Segmented, status: Status) -> None:
        """A picture of a frame that was shown before is left out."""
        if self.stopped or segmented.frame.number <= self._last:
            return
        if self._thread is None:
            self._first_s = segmented.frame.captured_s
            self._thread = threading.Thread(target=self._encode, name="encoder", daemon=True)
            self._thread.start()
        self._last = segmented.frame.number
        repeats = self._repeats(segmented.frame.captured_s) if self._live else 1
        if not repeats:
            return
        try:
            # The picture is drawn on no more, but its memory may be a view of a larger one.
            self._queue.put((np.array(picture), repeats), block=not self._live)
        except queue.Full:
            self.missed += 1
        # Of a picture that was missed too: its time is lost. As repeats of the next one, what waits would grow with
        # every picture that the encoder is late.
        self._slots += repeats

    def _repeats(self, captured_s: float) -> int:
        """How often a picture stands in the clip, so that its time runs as fast as the clock."""
        due = round((captured_s - self._first_s) * self._fps) + 1
        behind = due - self._slots
        longest = round(_LONGEST_GAP_S * self._fps)
        if behind > longest:
            self._slots += behind - longest
        return min(max(behind, 0), longest)

    def _encode(self) -> None:
        writer: cv2.VideoWriter | None = None
        size = (0, 0)
        try:
            while (item := self._queue.get()) is not None:
                if self.stopped:
                    continue
                picture, repeats = item
                if writer is None:
                    size = _even(picture)
                    writer, self.codec = open_writer(self._partial, fps=self._fps, size=size, vp9=self._vp9)
                if self._free(self.path.parent) < _LEAST_FREE_BYTES:
                    self.stopped = f"{self.path}: ended, the disk is full"
                    continue
                fitted = cv2.cvtColor(fit(picture, size), cv2.COLOR_RGB2BGR)
                for _ in range(repeats):
                    writer.write(fitted)
                    self.written += 1
        except (Unavailable, OSError, cv2.error) as error:
            self.stopped = f"{self.path}: ended, {error}"
            # Whoever waits to put a picture must not wait for ever.
            while self._queue.get() is not None:
                pass
        finally:
            if writer is not None:
                writer.release()

    def close(self) -> None:
        """Write what waits, then give the file its name. Nothing is left where no picture came."""
        if self._thread is None:
            return
        self._queue.put(None)
        self._thread.join()
        self._thread = None
        if self.written and self._partial.exists():
            self._partial.replace(self.path)
        else:
            self._partial.unlink(missing_ok=True)


class Recorder:
    """A `Viewer` that records while `controls.recording` says so: each time a folder of its own.

    In it: video.webm, masks/NNNNNN.png (0 or 255, size of the frame), frames.jsonl. recordings: the folders so far.
    stopped: why the last one ended before its time.
    """

    def __init__(
        self,
        folder: Path,
        controls: Controls,
        *,
        fps: float,
        live: bool,
        vp9: bool = False,
        free: FreeBytes = free_bytes,
    ) -> None:
        """fps, live, vp9: of its clips, as of `ClipWriter`."""
        self.recordings: list[Path] = []
        self.stopped = ""
        self._folder, self._controls, self._free = folder, controls, free
        self._fps, self._live, self._vp9 = fps, live, vp9
        self._clip: ClipWriter | None = None
        self._lines: IO[str] | None = None
        self._last = -1

    def show(self, picture: Image, segmented: Segmented, status: Status) -> None:
        if not self._controls.recording:
            self.close()
            return
        try:
            if self._clip is None or self._lines is None:
                self._open()
            self._add(picture, segmented, status)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            self._end("the disk is full" if full else f"{error.filename or 'file'}: {error.strerror}")

    def _open(self) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        folder = self._folder / stamp
        count = 2
        while folder.exists():
            folder = self._folder / f"{stamp}-{count}"
            count += 1
        (folder / "masks").mkdir(parents=True)
        self.stopped = ""
        self._last = -1
        self.recordings.append(folder)
        self._clip = ClipWriter(folder / "video.webm", fps=self._fps, live=self._live, vp9=self._vp9, free=self._free)
        # A line is on its way to the disk as soon as it is whole.
        self._lines = (folder / "frames.jsonl").open("w", buffering=1)

    def _add(self, picture: Image, segmented: Segmented, status: Status) -> None:
        frame = segmented.frame
        if self._clip is None or self._lines is None or frame.number <= self._last:
            return
        self._last = frame.number
        if self._free(self.recordings[-1]) < _LEAST_FREE_BYTES:
            raise OSError(errno.ENOSPC, "No space left on device")
        name = f"masks/{frame.number:06d}.png"
        # Not by rename: a mask cut short by a full disk is the last one, and the recording ends with it.
        (self.recordings[-1] / name).write_bytes(encode_png(segmented.mask * np.uint8(255)))
        area = int(np.count_nonzero(segmented.mask))
        line = {
            "frame": frame.number,
            "captured_s": round(frame.captured_s, 6),
            "cut": frame.cut,
            "mask": name,
            "area_fraction": area / segmented.mask.size,
            "confidence": round(cv2.mean(segmented.probability, mask=segmented.mask)[0], 4) if area else 0.0,
            "alarm": segmented.alarm,
            "reason": segmented.reason,
            "pre_ms": round(segmented.pre_ms, 3),
            "infer_ms": round(segmented.infer_ms, 3),
            "post_ms": round(segmented.post_ms, 3),
            "dropped": status.dropped,
        }
        self._lines.write(json.dumps(line) + "\n")
        self._clip.show(picture, segmented, status)
        if self._clip.stopped:
            self._end(self._clip.stopped)

    def _end(self, why: str) -> None:
        self.stopped = f"recording ended: {why}"
        self._controls.recording = False
        self.close()

    def close(self) -> None:
        clip, lines = self._clip, self._lines
        self._clip = self._lines = None
        if lines is not None:
            try:
                lines.close()
            except OSError as error:
                # What could not be written tells it again when it is closed.
                self.stopped = self.stopped or f"recording ended: frames.jsonl: {error.strerror}"
        if clip is not None:
            clip.close()


def write_screenshot(folder: Path, picture: Image, number: int) -> Path:
    """`picture` (H, W, 3) uint8 RGB as `folder`/frame-NNNNNN.png, or with a count where that exists. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"frame-{number:06d}.png"
    count = 2
    while path.exists():
        path = folder / f"frame-{number:06d}-{count}.png"
        count += 1
    path.write_bytes(encode_png(picture))
    return path


def open_writer(path: Path, *, fps: float, size: tuple[int, int], vp9: bool = False) -> tuple[cv2.VideoWriter, str]:
    """A writer for `size` (H, W) in pixels, with the best encoder that this OpenCV has for the suffix.

    Returns: it, and the encoder's four letters. Raises Unavailable where it has none.
    """
    known = _CODECS[path.suffix.lower()]
    wanted = tuple(dict.fromkeys((VP9, *known))) if vp9 and VP9 in known else known
    for codec in wanted:
        with _quiet_stderr():
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, (size[1], size[0]))
        if writer.isOpened():
            return writer, codec
        writer.release()
        path.unlink(missing_ok=True)
    raise Unavailable(
        f"this OpenCV has no encoder for {path.suffix} (tried {', '.join(wanted)}), or cannot write there"
    )


def fit(picture: Image, size: tuple[int, int]) -> Image:
    """A picture at `size` (H, W): itself, or scaled into it on black, where the source changed its size on the way."""
    height, width = size
    if picture.shape[:2] == size:
        return picture
    if picture.shape[0] - height in (0, 1) and picture.shape[1] - width in (0, 1):
        return picture[:height, :width]
    scale = min(height / picture.shape[0], width / picture.shape[1])
    inner = max(1, round(picture.shape[0] * scale)), max(1, round(picture.shape[1] * scale))
    out = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    out[top : top + inner[0], left : left + inner[1]] = cv2.resize(
        picture, (inner[1], inner[0]), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    return out


def _even(picture: Image) -> tuple[int, int]:
    """(H, W) without an odd last row or column, which 4:2:0 encoders refuse."""
    return max(2, picture.shape[0] // 2 * 2), max(2, picture.shape[1] // 2 * 2)


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Without what OpenCV prints straight to stderr: that WebM has no tag for VP9 is no error, and reads like one."""
    with _stderr_lock:
        kept = os.dup(2)
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
