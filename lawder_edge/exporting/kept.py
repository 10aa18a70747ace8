"""Bundles that a command needs and nobody asked to be made: exported once, and kept. Writes into the cache folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lawder_edge.bundle.store import open_bundle
from lawder_edge.errors import BadBundle, BadInput, GateFailed, LawderError, OverBudget, Unavailable
from lawder_edge.exporting.isolated import export_several
from lawder_edge.exporting.outcome import ExportOutcome
from lawder_edge.exporting.request import ExportRequest, ExportTask
from lawder_edge.versions import installed_version

_ERRORS: dict[int, type[LawderError]] = {e.exit_code: e for e in (BadInput, GateFailed, Unavailable, OverBudget)}


@dataclass(frozen=True)
class Wanted:
    """A bundle of a model for one target and precision. weights: its file, whose bytes tell networks apart."""

    model: str
    weights: Path
    target: str
    precision: str


def cache_folder() -> Path:
    """Where bundles are kept: $XDG_CACHE_HOME/lawder-edge, or ~/.cache/lawder-edge."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lawder-edge"


def kept_bundles(
    wanted: Sequence[Wanted], *, cache: Path, on_export: Callable[[ExportTask], None] = lambda task: None
) -> tuple[Path | LawderError, ...]:
    """The folder of each, made where it is missing or damaged, as `export` makes it, or what that failed with.

    cache: see `cache_folder`. on_export: told of each export as it begins; it takes 10 to 30 s.
    """
    folders = [_folder(one, cache) for one in wanted]
    tasks = {
        folder: ExportTask(
            one.target, ExportRequest(model=one.model, precision=one.precision, overwrite=True), out=folder
        )
        for one, folder in zip(wanted, folders, strict=True)
        if not _is_whole(folder)
    }
    made: dict[Path, ExportOutcome] = {}
    if tasks:
        cache.mkdir(parents=True, exist_ok=True)
        made = dict(zip(tasks, export_several(tuple(tasks.values()), on_start=on_export), strict=True))
    return tuple(
        folder
        if folder not in made or _is_whole(folder)
        else _ERRORS.get(made[folder].exit_code, LawderError)(made[folder].reason)
        for folder in folders
    )


def kept_bundle(wanted: Wanted, *, cache: Path, on_export: Callable[[ExportTask], None] = lambda task: None) -> Path:
    """`kept_bundles` of one. Raises what its export failed with: BadInput, GateFailed, Unavailable, LawderError."""
    (found,) = kept_bundles((wanted,), cache=cache, on_export=on_export)
    if isinstance(found, LawderError):
        raise found
    return found


def _folder(wanted: Wanted, cache: Path) -> Path:
    with wanted.weights.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    # Another version may export another way.
    version = installed_version("lawder-edge") or "source"
    return cache / f"{wanted.weights.stem}-{digest[:12]}-{version}-{wanted.target}-{wanted.precision}"


def _is_whole(folder: Path) -> bool:
    try:
        open_bundle(folder)
    except BadBundle:
        return False
    return True
