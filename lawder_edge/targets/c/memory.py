"""RAM over time: how much of the arena is alive at each operator, as a table in the bundle and as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from lawder_edge.graph.ir import Graph
from lawder_edge.targets.c.plan import Plan
from lawder_edge.targets.c.stream import Stream

FILE = "memory.csv"
HEADER = ("operator", "kind", "module", "output", "row_by_row", "alive_bytes", "alive_bytes_one_after_the_other")


def memory_table(graph: Graph, memory: Plan, streams: Sequence[Stream], whole: Plan) -> str:
    """A line an operator under `HEADER`. whole: the plan of the same graph without streams."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    streamed = {i for s in streams for i in range(s.first, s.last + 1)}
    for i, op in enumerate(graph.ops):
        shape = "x".join(map(str, graph.tensor(op.outputs[0]).shape[1:]))
        row = (i, op.kind, op.source, shape, int(i in streamed), memory.alive_bytes[i], whole.alive_bytes[i])
        writer.writerow(row)
    return text.getvalue()


def draw_memory(table: str, *, title: str) -> bytes:
    """A PNG of what `memory_table` wrote. Both curves are bytes of the arena; picture and mask are the caller's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = list(csv.DictReader(io.StringIO(table)))
    at = [int(row["operator"]) for row in rows]
    figure = Figure(figsize=(9, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for column, label, colour in (
        (HEADER[6], "one operator after the other", "#b8c4d6"), (HEADER[5], "as generated, row by row", "#1f5fa8")
    ):  # fmt: skip
        alive = [int(row[column]) / 1024 for row in rows]
        axes.fill_between(at, alive, step="mid", color=colour, label=f"{label}: {max(alive):.1f} KB at most")
    axes.set(xlabel="operator", ylabel="arena in use, KB (1024 bytes)", title=title, xlim=(0, at[-1]), yscale="log")
    figure.legend(loc="outside lower center", ncols=2)
    data = io.BytesIO()
    figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()
