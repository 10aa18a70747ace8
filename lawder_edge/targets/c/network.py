"""The C files of a network: constants, the calls of its operators, and the functions that a program calls."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from lawder_edge.errors import BadInput
from lawder_edge.graph.ir import Conv2D, Graph, Reshape, Tensor
from lawder_edge.targets.c.budget import Need
from lawder_edge.targets.c.calls import Argument, Call, Operand, calls_of
from lawder_edge.targets.c.choice import Choice, smallest, within
from lawder_edge.targets.c.fuse import fused
from lawder_edge.targets.c.memory import memory_table
from lawder_edge.targets.c.names import array, comment, identifier, literal
from lawder_edge.targets.c.plan import FrameRows, Plan, plan
from lawder_edge.targets.c.probability import probability_table
from lawder_edge.targets.c.records import LAYOUTS, Constant, Record, Value, record, size_of
from lawder_edge.targets.c.stream import Stage, Stream, streams
from lawder_edge.targets.c.text import generic_header, network_header, network_source

RowByRow: TypeAlias = Literal["needed", "always", "never"]
# LW_WHOLE in lawder_kernels.h.
WHOLE = 255


@dataclass(frozen=True)
class Source:
    """name: as C spells it. files: names and text, the first is the network itself, whose sha256 the header holds.

    graph: the operators that it computes, by their numbers in the text. rows: what is added to the plan where picture
    and mask are given and taken row by row. constants_bytes: of weights, biases, multipliers, tables and parameters, as
    32-bit targets store them. frame_bytes: of a picture and its mask. memory: `memory_table` of it. instructions: what
    of them a frame takes beyond the operators' arithmetic, estimated (`extra_instructions`).
    """

    name: str
    files: tuple[tuple[str, str], ...]
    graph: Graph
    plan: Plan
    rows: FrameRows
    constants_bytes: int
    frame_bytes: int
    memory: str
    instructions: int

    @property
    def need(self) -> Need:
        """RAM that a program sets aside."""
        return Need(self.plan.arena_bytes, self.frame_bytes, self.rows.arena_bytes)


def write(
    graph: Graph,
    *,
    name: str,
    version: str,
    threshold: float = 0.5,
    row_by_row: RowByRow = "needed",
    ram_bytes: int | None = None,
) -> Source:
    """graph: int8, one image in, one map of logits out. version: of lawder-edge. threshold: of foreground, in (0, 1).
    row_by_row: of the runs of operators that can be computed so, those that save memory, all or none. ram_bytes: where
    "needed", a budget in which the plan of the least work is taken; without one, that of the smallest arena.

    The same graph gives the same text. Raises BadInput for what the kernels cannot do, and for an input that is no
    picture.
    """
    stem = identifier(name)
    image, logits = _interface(graph)
    outside = frozenset({image.name} if _only_convolved(fused(graph), image) else ()) | (
        {logits.name} if logits.shape[3] == 1 else frozenset()
    )
    frame_bytes = image.size + logits.shape[1] * logits.shape[2]
    choice = _choice(graph, outside, row_by_row, frame_bytes, ram_bytes)
    graph, found, memory, rows = choice.graph, choice.streams, choice.memory, choice.rows
    writer = _Writer(graph, memory, found, rows)
    body = writer.body()
    table = Constant("probability", "uint8_t", probability_table(logits, threshold)[0])
    if logits.shape[3] == 1:
        writer.constant(table, "probability")
    source = network_source(stem, writer.declarations(), body, memory=memory, rows=rows, image=image, logits=logits)
    header = network_header(
        stem,
        image,
        logits,
        arena_bytes=(memory.arena_bytes, rows.arena_bytes),
        version=version,
        sha256=hashlib.sha256(source.encode()).hexdigest(),
        threshold=threshold,
    )
    files = ((f"{stem}.c", source), (f"{stem}.h", header), ("network.h", generic_header(stem, logits.shape[3])))
    table_of_memory = memory_table(graph, memory, found, plan(graph, outside=outside))
    return Source(
        stem, files, graph, memory, rows, writer.constants_bytes, frame_bytes, table_of_memory, choice.instructions
    )


def _choice(
    graph: Graph, outside: frozenset[str], row_by_row: RowByRow, frame_bytes: int, ram_bytes: int | None
) -> Choice:
    if row_by_row != "needed":
        alone = fused(graph)
        return Choice.of(alone, streams(alone) if row_by_row == "always" else (), outside=outside)
    if ram_bytes is None:
        return smallest(graph, outside=outside)
    return within(graph, ram_bytes, frame_bytes=frame_bytes, outside=outside)


def _interface(graph: Graph) -> tuple[Tensor, Tensor]:
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise BadInput(
            f"graph {graph.name} has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; C takes one of each."
        )
    image, logits = graph.tensor(graph.inputs[0]), graph.tensor(graph.outputs[0])
    if len(image.shape) != 4 or image.quantization is None or (image.scale, image.zero_point) != (1 / 128, 0):
        raise BadInput(
            f"graph {graph.name} takes {image.dtype} of {image.shape}; C takes pictures (1, H, W, C) as int8 at scale "
            "1/128, zero point 0, which are a camera's bytes less 128."
        )
    if logits.dtype != "int8" or len(logits.shape) != 4 or logits.shape[3] > 256:
        raise BadInput(
            f"graph {graph.name} gives {logits.dtype} of {logits.shape}; C gives int8 (1, H, W, up to 256 classes)."
        )
    return image, logits


def _only_convolved(graph: Graph, image: Tensor) -> bool:
    """Whether the picture's own bytes do: dense convolutions read them as they are."""
    return all(isinstance(op.attributes, Conv2D) for op in graph.users(image.name))


class _Writer:
    """Collects declarations while it writes calls. Equal constants become one."""

    def __init__(self, graph: Graph, memory: Plan, streams: Sequence[Stream], rows: FrameRows) -> None:
        self._graph, self._plan, self._frame_rows = graph, memory, rows
        self._image, self._logits = graph.tensor(graph.inputs[0]), graph.tensor(graph.outputs[0])
        self._streams = {s.first: s for s in streams}
        self._streamed = {i for s in streams for i in range(s.first, s.last + 1)}
        self._declared: dict[tuple[str, str], str] = {}
        self._texts: list[str] = []
        self.constants_bytes = 0

    def body(self) -> str:
        lines: list[str] = []
        if self._image.name in self._plan.offsets:
            lines += [f"    lw_image({self._image.size}u, rgb, {self._place(self._image.name)});"]
        for number, op in enumerate(self._graph.ops):
            if number in self._streams:
                lines += self._stream(self._streams[number])
            if number in self._streamed:
                continue
            output = self._graph.tensor(op.outputs[0])
            lines.append(f"    /* {number}: {comment(op.source or op.kind)} {_sizes(output.shape)} */")
            for call in calls_of(op, self._graph):
                if isinstance(op.attributes, Reshape) and self._shares_memory(op.inputs[0], output.name):
                    continue
                lines.append(self._call(call, f"{op.kind}_{number}"))
            lines.append(f"    LW_AFTER_OPERATOR({number}, {self._place(output.name)}, {output.size});")
        return "\n".join(lines)

    def declarations(self) -> str:
        return "\n".join(self._texts)

    def constant(self, constant: Constant, name: str) -> str:
        """Declare an array unless an equal one is there. Returns: its name."""
        count = int(constant.data.size)
        size_bytes = count * np.dtype(constant.ctype.removesuffix("_t")).itemsize
        text = array(constant.data, constant.ctype)
        return self._declare(constant.ctype, f"[{count}]", text, name, size_bytes)

    def _table(self, ctype: str, rows: Sequence[str], name: str) -> str:
        """Declare an array of structures. Returns: its name."""
        text = "{\n" + "\n".join(f"    {row}" for row in rows) + "\n}"
        return self._declare(ctype, f"[{len(rows)}]", text, name, size_of(ctype) * len(rows))

    def _stream(self, stream: Stream) -> list[str]:
        """A call that computes a run of operators, and the tables that it goes by."""
        outputs = [s.output for s in stream.stages]
        names = list(dict.fromkeys(name for s in stream.stages for name in (*s.inputs, s.output)))
        rows = [self._rows(name, stream, outputs) for name in names]
        tensors = self._table("lw_rows", rows, f"rows_{stream.first}")
        stages = [self._stage(s, stream.first + i, names) for i, s in enumerate(stream.stages)]
        table = self._table("lw_stage", stages, f"stages_{stream.first}")
        text = f"{{{table}, {tensors}, {len(stages)}}}"
        params = self._declare("lw_stream_params", "", text, f"stream_{stream.first}", size_of("lw_stream_params"))
        lines = [f"    /* {stream.first} to {stream.last}: row by row */"]
        lines.append(f"    if (lw_stream(&{params}, memory, frame) != LW_OK) {{\n        return LW_ERROR_ROW;\n    }}")
        for i, name in enumerate(outputs):
            if name in stream.whole:
                size = self._graph.tensor(name).size
                lines.append(f"    LW_AFTER_OPERATOR({stream.first + i}, {self._place(name)}, {size});")
        return lines

    def _rows(self, name: str, stream: Stream, outputs: list[str]) -> str:
        tensor = self._graph.tensor(name)
        place = 2 if name == self._logits.name else 0 if name in self._plan.offsets else 1
        maker = outputs.index(name) if name in outputs else WHOLE
        at = self._frame_rows
        offset, ring = (
            (self._plan.offsets[name], stream.rings.get(name, tensor.shape[1])) if place == 0
            else (at.picture_offset, at.picture_rows) if place == 1
            else (at.logits_offset, at.logits_rows)
        )  # fmt: skip
        values = record(
            "lw_rows",
            offset=offset,
            row_bytes=tensor.size // tensor.shape[1],
            height=tensor.shape[1],
            ring=ring,
            place=place,
            maker=maker,
        )
        return f"{self._text(values, '')}, /* {name} {_sizes(tensor.shape)} */"

    def _stage(self, stage: Stage, number: int, names: list[str]) -> str:
        label = f"{stage.op.kind}_{number}"
        reads_picture = stage.inputs[0] == self._image.name not in self._plan.offsets
        function = f"{stage.function}_image" if reads_picture else stage.function
        params, shape = ("NULL" if a is None else self._argument(a, label) for a in (stage.params, stage.shape))
        first, second = (*(names.index(n) for n in stage.inputs), WHOLE)[:2]
        numbers = (
            names.index(stage.output), stage.window, stage.stride, stage.dilation, stage.pad_top, stage.windowed,
            int(stage.is_eager),
        )  # fmt: skip
        resize = params if stage.is_resize else "NULL"
        fields = ", ".join((function, params, shape, resize, f"{{{first}, {second}}}", *map(str, numbers)))
        return f"{{{fields}}}, /* {number}: {comment(stage.op.source or stage.op.kind)} */"

    def _call(self, call: Call, name: str) -> str:
        words = [self._argument(a, name) for a in call.arguments]
        kernel, places = call.kernel, [self._operand(o) for o in call.operands]
        if call.kernel == "lw_conv2d" and call.operands[0].name == self._image.name not in self._plan.offsets:
            kernel = "lw_conv2d_image"
        return f"    {kernel}({', '.join((*words, *places))});"

    def _operand(self, operand: Operand) -> str:
        tensor = self._graph.tensor(operand.name)
        if tensor.data is not None:
            return self.constant(Constant("value", "int8_t", tensor.data), f"constant_{tensor.name}")
        place = self._place(operand.name)
        return f"{place} + {operand.offset}" if operand.offset else place

    def _place(self, name: str) -> str:
        """A tensor's address. The logits' is always the caller's to choose."""
        if name == self._logits.name:
            return "logits"
        return f"memory + {self._plan.offsets[name]}" if name in self._plan.offsets else "rgb"

    def _shares_memory(self, a: str, b: str) -> bool:
        return self._place(a) == self._place(b)

    def _argument(self, argument: Argument, name: str) -> str:
        if isinstance(argument, int):
            return literal(argument, "uint32_t")
        if isinstance(argument, Constant):
            return self.constant(argument, f"{name}_{argument.role}")
        return "&" + self._record(argument, name)

    def _record(self, record: Record, name: str) -> str:
        kind = record.ctype.removeprefix("lw_")
        return self._declare(record.ctype, "", self._text(record, name), f"{name}_{kind}", size_of(record.ctype))

    def _text(self, record: Record, name: str) -> str:
        values = [
            self._value(v, ctype, f"{name}_{field}")
            for (field, ctype), v in zip(LAYOUTS[record.ctype], record.values, strict=True)
        ]
        return "{" + ", ".join(values) + "}"

    def _value(self, value: Value, ctype: str, name: str) -> str:
        if isinstance(value, Constant):
            return self.constant(value, name)
        plain = ctype.partition("[")[0]
        if isinstance(value, tuple):
            return "{" + ", ".join(literal(v, plain) for v in value) + "}"
        return literal(value, plain)

    def _declare(self, ctype: str, suffix: str, text: str, name: str, size_bytes: int) -> str:
        key = (ctype, text)
        if key not in self._declared:
            self._declared[key] = name
            self._texts.append(f"static const {ctype} {name}{suffix} = {text};")
            self.constants_bytes += size_bytes
        return self._declared[key]


def _sizes(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(str(n) for n in shape) + ")"
