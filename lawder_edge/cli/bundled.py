"""What `lawder-edge bench` measures where nothing is named: the bundled weights, in PyTorch and in every target."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lawder_edge.errors import LawderError
from lawder_edge.exporting.kept import cache_folder, kept_bundle
from lawder_edge.targets.registry import targets
from lawder_edge.weights import bundled_weights

# A cold export takes 10 to 20 s, most of it imports: two at a time use two cores.
_AT_A_TIME = 2
MODEL = "order"


def bundled_sources(cache: Path | None = None) -> tuple[str, ...]:
    """MODEL, and a bundle of it for every target and precision that can be exported here, made where it is missing.

    What cannot be exported is told on stderr, and is no row. cache: where bundles are kept, `cache_folder` when left
    out.
    """
    wanted = []
    for precision in ("fp32", "int8"):
        for name, record in targets().items():
            if precision not in record.precisions:
                continue
            missing = record.missing((*record.to_export, *record.to_run))
            if record.lacks_program():
                _tell(f"left out {name} {precision}: {record.programs_install}")
            elif missing:
                _tell(
                    f"left out {name} {precision}: needs {', '.join(missing)}: pip install "
                    f"'lawder-edge[{record.extra}]'"
                )
            else:
                wanted.append((name, precision))
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        made = list(pool.map(lambda asked: _make(*asked, cache=cache or cache_folder()), wanted))
    return (MODEL, *(folder for folder in made if folder is not None))


def _make(target: str, precision: str, *, cache: Path) -> str | None:
    """The bundle's folder, made where it is missing; None, and why on stderr, where it cannot be made."""
    weights = bundled_weights(MODEL, int8=precision == "int8")
    if weights is None:
        return None
    try:
        return str(
            kept_bundle(
                MODEL, weights, target=target, precision=precision, cache=cache,
                on_export=lambda folder: _tell(f"exporting {MODEL} to {target} {precision}, once, into {folder}"),
            )
        )  # fmt: skip
    except LawderError as error:
        _tell(f"left out {target} {precision}: {error}")
        return None


def _tell(said: str) -> None:
    print(said, file=sys.stderr, flush=True)
