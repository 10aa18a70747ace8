"""`lawder-edge doctor`"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from lawder_edge.doctor.health import Health


def doctor(quick: bool = False, format: Literal["table", "json"] = "table") -> int:
    """Tell what this machine is, what is installed, what can run here, and what to install.

    Example: lawder-edge doctor

    Exit code 4 if nothing here can run a model.

    Args:
        quick: only look whether packages are there; import none, and leave accelerators and weights unchecked.
        format: of the report.
    """
    from lawder_edge.doctor.health import examine
    from lawder_edge.errors import Unavailable

    found = examine(quick=quick)
    if format == "json":
        print(json.dumps({"schema_version": 1, "can_run": found.can_run, **dataclasses.asdict(found)}, indent=2))
    else:
        _print(found)
    return 0 if found.can_run else Unavailable.exit_code


def _print(found: Health) -> None:
    from lawder_edge.cli.tables import print_table

    m = found.machine
    not_checked = "not checked"
    lines = [
        ("CPU", f"{m.cpu}, {m.architecture}"),
        ("features", ", ".join(m.features) or "none of those that matter"),
        ("cores", f"{m.usable_cores} of {m.cores} usable"),
        ("memory", f"{m.memory_bytes / 1e9:.1f} GB"),
        ("governor", m.governor or "not shown by this system"),
        ("system", m.os),
        ("Python", m.python),
        *((p.name, p.version or "not installed") for p in m.packages),
    ]
    if found.accelerators is None:
        lines.append(("accelerator", not_checked))
    else:
        lines += [("accelerator", text) for text in found.accelerators or ("none that PyTorch can use",)]
    for weights in found.weights or ():
        lines.append((f"weights {weights.name}", weights.problem or f"whole, sha256 {weights.sha256[:8]}"))
    if not found.weights:
        lines.append(("weights", not_checked if found.weights is None else "the package carries none"))
    print_table(("this machine", ""), lines)
    print()
    print_table(
        ("target", "export here", "run here", "missing"),
        [
            (t.name, "yes" if t.can_export else "no", "yes" if t.can_run else "no", ", ".join(t.missing))
            for t in found.targets
        ],
    )
    if found.hints:
        print()
    for hint in found.hints:
        print(f"hint: {hint}")
