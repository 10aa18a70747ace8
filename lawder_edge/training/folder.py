"""The folder of a run: whether it may be written into, and by one process alone."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from pathlib import Path

from lawder_edge.errors import BadInput, OutputExists

CACHE_FOLDER = "cache"


def check_free(out: Path, *, resume: bool, overwrite: bool, run_file: str, results: Sequence[str]) -> None:
    """Raises: OutputExists, BadInput where a run in `out` would go on with, or over, what it should not.

    results: names that a new run removes or replaces. Pictures decoded by a run that then failed are in nobody's way.
    """
    if out.exists() and not out.is_dir():
        raise OutputExists(f"{out} is a file; wanted a folder for the run. Choose another --out.")
    if resume and overwrite:
        raise BadInput("--resume goes on with the run in --out and --overwrite removes it. Give one of them.")
    if resume and not (out / run_file).exists():
        for name in results:
            if (out / name).exists():
                raise OutputExists(
                    f"{out / name} stands there without the {run_file} of its run, so it cannot be resumed. Choose "
                    "another --out, or start anew with --overwrite instead of --resume."
                )
    if out.exists() and not resume and not overwrite and any(entry.name != CACHE_FOLDER for entry in out.iterdir()):
        raise OutputExists(f"{out} exists. Add --resume to go on with that run, or --overwrite to start anew.")


class FolderLock:
    """That no other process trains into a folder, for as long as this object or the process lives.

    Nothing is written: the folder itself is locked (flock).
    """

    def __init__(self, descriptor: int) -> None:
        """descriptor: of a locked folder, closed with this object."""
        weakref.finalize(self, os.close, descriptor)


# By device and inode: a process may prepare a run again while it holds the one before.
_held: weakref.WeakValueDictionary[tuple[int, int], FolderLock] = weakref.WeakValueDictionary()


def lock_folder(out: Path) -> FolderLock | None:
    """Keep other processes out of a folder that exists. None where the system or the file system has no such lock.

    Raises: OutputExists where another process holds it.
    """
    try:
        import fcntl
    except ImportError:
        return None
    status = out.stat()
    place = (status.st_dev, status.st_ino)
    if place in _held:
        return _held[place]
    descriptor = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise OutputExists(
                f"{out}: another training is writing there. Wait for its end, or choose another --out."
            ) from error
        # Some network file systems have no locks; a training there is not to fail for that.
        return None
    return _held.setdefault(place, FolderLock(descriptor))
