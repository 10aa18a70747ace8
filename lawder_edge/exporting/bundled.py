"""What `lawder-edge bench` measures where nothing is named: the bundled weights, in PyTorch and in every target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lawder_edge.errors import LawderError
from lawder_edge.exporting.kept import Wanted, cache_folder, kept_bundles
from lawder_edge.exporting.request import ExportTask
from lawder_edge.targets.registry import targets
from lawder_edge.weights import bundled_weights

MODEL = "order"


def bundled_sources(cache: Path | None = None, *, tell: Callable[[str], None]) -> tuple[str, ...]:
    """MODEL, and a bundle of it for every target and precision that can be exported here, made where it is missing.

    tell: told of each export as it begins, and of what cannot be exported, which is left out. cache: where bundles are
    kept, `cache_folder` when left out.
    """

    def tell_export(task: ExportTask) -> None:
        tell(f"exporting {MODEL} to {task.target} {task.request.precision}, once, into {task.out}")

    wanted: list[Wanted] = []
    for precision in ("fp32", "int8"):
        weights = bundled_weights(MODEL, int8=precision == "int8")
        for name, record in targets().items():
            if precision not in record.precisions or weights is None:
                continue
            missing = record.missing((*record.to_export, *record.to_run))
            if record.lacks_program():
                tell(f"left out {name} {precision}: {record.programs_install}")
            elif missing:
                tell(
                    f"left out {name} {precision}: needs {', '.join(missing)}: pip install "
                    f"'lawder-edge[{record.extra}]'"
                )
            else:
                wanted.append(Wanted(MODEL, weights, name, precision))
    found = kept_bundles(wanted, cache=cache or cache_folder(), on_export=tell_export)
    for one, made in zip(wanted, found, strict=True):
        if isinstance(made, LawderError):
            tell(f"left out {one.target} {one.precision}: {made}")
    return (MODEL, *(str(made) for made in found if isinstance(made, Path)))
