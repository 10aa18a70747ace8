"""The C kernels compiled into a shared library, and their calls made from Python."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawder_edge.graph.ir import Graph
from lawder_edge.targets.c.calls import Argument, Call, calls_of
from lawder_edge.targets.c.records import LAYOUTS, Constant, Record

KERNELS = Path(str(files("lawder_edge.targets.c") / "kernels"))
SOURCES = tuple(sorted(KERNELS.glob("*.c")))
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wdouble-promotion", "-Werror")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
_TYPES: Mapping[str, Any] = {
    name: getattr(ctypes, f"c_{name.removesuffix('_t')}")
    for name in ("int8_t", "uint8_t", "int16_t", "uint16_t", "int32_t", "uint32_t")
}


def run(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Raises AssertionError with what the command said where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done


def compile_library(sources: Sequence[Path], out: Path, *flags: str, compiler: str = "gcc") -> Path:
    run([compiler, "-std=c99", "-O1", "-shared", "-fPIC", *flags, f"-I{KERNELS}", *map(str, sources), "-o", str(out)])
    return out


class Kernels:
    """A compiled library of kernels. It keeps nothing: each call makes its structures anew."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))

    def run(self, graph: Graph, inputs: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
        """A graph of one operator. Bytes before and after the output are held against change."""
        (op,) = graph.ops
        output = graph.tensor(op.outputs[0])
        guard = 64
        memory = np.full(output.size + 2 * guard, 0x55, np.int8)
        arrays = {n: np.ascontiguousarray(x) for n, x in zip(graph.inputs, inputs, strict=True)}
        arrays |= {t.name: np.ascontiguousarray(t.data) for t in graph.tensors if t.data is not None}
        arrays[output.name] = memory[guard:-guard]
        for call in calls_of(op, graph):
            self.call(call, arrays)
        assert (memory[:guard] == 0x55).all(), "written before the output"
        assert (memory[-guard:] == 0x55).all(), "written after the output"
        return memory[guard:-guard].reshape(output.shape)

    def call(self, call: Call, arrays: Mapping[str, NDArray[Any]]) -> None:
        alive: list[Any] = []
        pointers = [ctypes.c_void_p(arrays[o.name].ctypes.data + o.offset) for o in call.operands]
        getattr(self._library, call.kernel)(*(_argument(a, alive) for a in call.arguments), *pointers)


def _argument(argument: Argument, alive: list[Any]) -> Any:
    if isinstance(argument, int):
        return ctypes.c_uint32(argument)
    if isinstance(argument, Constant):
        return _pointer(argument, alive)
    made = structure(argument.ctype)(*(_field(v, alive) for v in argument.values))
    alive.append(made)
    return ctypes.byref(made)


def structure(ctype: str) -> type[ctypes.Structure]:
    """By the layout that the exporter writes."""
    fields = [(name, _field_type(kind)) for name, kind in LAYOUTS[ctype]]
    return type(ctype, (ctypes.Structure,), {"_fields_": fields})


def _field_type(kind: str) -> Any:
    if kind.endswith("*"):
        return ctypes.c_void_p
    name, _, length = kind.partition("[")
    return _TYPES[name] * int(length[:-1]) if length else _TYPES[name]


def _field(value: Any, alive: list[Any]) -> Any:
    return _pointer(value, alive) if isinstance(value, Constant) else value


def _pointer(constant: Constant, alive: list[Any]) -> ctypes.c_void_p:
    data = np.ascontiguousarray(constant.data, constant.ctype.removesuffix("_t"))
    alive.append(data)
    return ctypes.c_void_p(data.ctypes.data)


def record_of(call: Call) -> Record:
    """The first structure of a call."""
    return next(a for a in call.arguments if isinstance(a, Record))
