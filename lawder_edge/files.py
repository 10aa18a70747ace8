"""Files written whole or not at all, over nothing that was not meant to go."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lawder_edge.errors import BadInput, OutputExists

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def make_way(path: Path, *, overwrite: bool) -> None:
    """Make the folder that the file goes into: called before the work whose result it shall hold.

    Raises OutputExists for a folder, or for a file where `overwrite` is false; OSError where the folder cannot be made.
    """
    if path.is_dir() or (path.exists() and not overwrite):
        raise OutputExists(f"{path} exists. Add --overwrite to replace a file, or name another.")
    path.parent.mkdir(parents=True, exist_ok=True)


def read_given(path: Path, *, wanted: str) -> bytes:
    """A file that a person named to be read. wanted: what it should hold, for the message. Raises BadInput."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); wanted {wanted}.") from error


def write_file(path: Path, data: bytes) -> None:
    """Write beside the target, flush to disk, rename: a crash or a full disk leaves what stood there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        temporary.replace(path)
    except OSError as error:
        # A full disk fails in a write, which knows no name.
        error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_png(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write (H, W) grey or (H, W, 3) RGB as a PNG of 8 or 16 bits, over what stands there, as `write_file` does.

    Raises OSError, the old file whole.
    """
    write_file(path, encode_png(pixels))


def encode_png(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """(H, W) grey or (H, W, 3) RGB as the bytes of a PNG."""
    import cv2
    import numpy as np

    # Not by cv2.imwrite, which says nothing when a disk is full.
    _, encoded = cv2.imencode(".png", pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., ::-1]))
    return encoded.tobytes()
