"""Bundles that a command needs and nobody asked to be made: exported once, and kept. Writes into the cache folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from lawder_edge.bench.machine import installed_version
from lawder_edge.bundle.store import open_bundle
from lawder_edge.errors import BadBundle, BadInput, GateFailed, LawderError, OverBudget, Unavailable
from lawder_edge.exporting.outcome import export_isolated
from lawder_edge.exporting.request import ExportRequest

_ERRORS: dict[int, type[LawderError]] = {e.exit_code: e for e in (BadInput, GateFailed, Unavailable, OverBudget)}


def cache_folder() -> Path:
    """Where bundles are kept: $XDG_CACHE_HOME/lawder-edge, or ~/.cache/lawder-edge."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lawder-edge"


def kept_bundle(
    model: str,
    weights: Path,
    *,
    target: str,
    precision: str,
    cache: Path,
    on_export: Callable[[Path], None] = lambda folder: None,
) -> Path:
    """The bundle of a model for one target and precision, made where it is missing or damaged, as `export` makes it.

    model: as `load_model` takes it. weights: its file, by whose bytes one network is told from another. cache: see
    `cache_folder`. on_export: told where to, before an export begins, which takes 10 to 30 s.

    Raises what the export failed with: BadInput, GateFailed, Unavailable, LawderError.
    """
    with weights.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    # Another version may export another way.
    version = installed_version("lawder-edge") or "source"
    folder = cache / f"{weights.stem}-{digest[:12]}-{version}-{target}-{precision}"
    if _is_whole(folder):
        return folder
    on_export(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    done = export_isolated(target, ExportRequest(model=model, precision=precision, overwrite=True), out=folder)
    if not _is_whole(folder):
        raise _ERRORS.get(done.exit_code, LawderError)(done.reason)
    return folder


def _is_whole(folder: Path) -> bool:
    try:
        open_bundle(folder)
    except BadBundle:
        return False
    return True
