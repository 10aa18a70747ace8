"""Where frames come from: what a person names becomes a `Source`, of files or live."""

from __future__ import annotations

import re
from pathlib import Path

from lawder_edge.data.layouts import IMAGE_SUFFIXES
from lawder_edge.errors import BadInput
from lawder_edge.video.frames import Source
from lawder_edge.video.live import open_camera, open_pipeline, open_stream
from lawder_edge.video.sources import USUAL_FPS, FileSource, FolderSource, check_fps

_GLOB = re.compile(r"[*?\[]")


def open_source(text: str, *, fps: float | None = None) -> Source:
    """A source from what a person names.

    text: a video file; a folder of images, or a pattern such as `frames/*.png`; the number of a camera or its device;
    an address with `://`; a GStreamer pipeline, which holds ` ! `. fps: to play at, None for the source's own.

    Raises BadInput for what cannot be opened, Unavailable for GStreamer where OpenCV lacks it.
    """
    check_fps(fps)
    if " ! " in text:
        return open_pipeline(text)
    if "://" in text:
        return open_stream(text)
    if text.isdigit() or text.startswith("/dev/video"):
        return open_camera(text)
    path = Path(text)
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES or (_GLOB.search(text) and not path.exists()):
        return FolderSource(_pictures(path), fps=fps or USUAL_FPS)
    return FileSource(path, fps=fps)


def _pictures(path: Path) -> list[Path]:
    """The images of a folder, of a pattern, or the one of a file, in natural order: 2 before 10."""
    if path.is_dir():
        found = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    elif _GLOB.search(path.name):
        found = [p for p in path.parent.glob(path.name) if p.suffix.lower() in IMAGE_SUFFIXES]
    else:
        found = [path] if path.is_file() else []
    if not found:
        raise BadInput(f"{path}: no images here (looked for {', '.join(sorted(IMAGE_SUFFIXES))}).")
    return sorted(found, key=_natural)


def _natural(path: Path) -> tuple[tuple[int, int | str], ...]:
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", path.name) if part)
