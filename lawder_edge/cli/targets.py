"""`lawder-edge targets`"""

from __future__ import annotations

import json
from typing import Literal


def targets(format: Literal["table", "json"] = "table") -> int:
    """List the targets that a model can be exported to.

    Example: lawder-edge targets

    Args:
        format: of the list.
    """
    from lawder_edge.targets.registry import targets as records

    rows = [
        {
            "target": t.name,
            "suffix": t.suffix,
            "precisions": list(t.precisions),
            "outputs": {precision: list(t.can(precision)[0]) for precision in t.precisions},
            "inputs": {precision: list(t.can(precision)[1]) for precision in t.precisions},
            "layout": t.layout,
            "export here": not t.missing(t.to_export),
            "run here": not t.missing(t.to_run) and not t.lacks_program(),
            "install": f"pip install 'lawder-edge[{t.extra}]'",
            "description": t.description,
        }
        for t in records().values()
    ]
    if format == "json":
        print(json.dumps(rows, indent=1))
        return 0
    from lawder_edge.cli.tables import print_table

    print_table(
        ("target", "file", "precisions", "layout", "export here", "run here", "install", ""),
        [
            (
                str(r["target"]),
                str(r["suffix"]),
                ", ".join(r["precisions"]),  # type: ignore[arg-type]
                str(r["layout"]),
                "yes" if r["export here"] else "no",
                "yes" if r["run here"] else "no",
                str(r["install"]),
                str(r["description"]),
            )
            for r in rows
        ],
    )
    return 0
