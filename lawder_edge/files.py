"""Files written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


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
