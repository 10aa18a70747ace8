"""Where the bytes of a .tflite file go: its vectors, those that several tensors share counted once.

python benchmarks/tflite_bytes.py build/order/tflite-int8/order-tflite-int8.tflite
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray


def spans(data: bytes) -> dict[str, int]:
    """Bytes of the vectors of each kind, by what the file says of them."""
    start = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    model = schema.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    found: dict[str, set[tuple[int, int]]] = {
        "weights, int8": set(),
        "biases, int32": set(),
        "scales, zero points": set(),
    }

    def note(kind: str, vector: NDArray[Any] | int) -> None:
        if not isinstance(vector, int):
            found[kind].add((vector.__array_interface__["data"][0] - start, vector.nbytes))

    for i in range(graph.TensorsLength()):
        tensor = graph.Tensors(i)
        kind = "biases, int32" if tensor.Type() == schema.TensorType.INT32 else "weights, int8"
        note(kind, model.Buffers(tensor.Buffer()).DataAsNumpy())
        quantization = tensor.Quantization()
        if quantization is not None:
            note("scales, zero points", quantization.ScaleAsNumpy())
            note("scales, zero points", quantization.ZeroPointAsNumpy())
    return {kind: sum(length for _, length in places) for kind, places in found.items()}


def operator_bytes(data: bytes) -> int:
    """What the file is shorter by, packed without its operators."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    lengths = []
    for _ in range(2):
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        lengths.append(len(builder.Output()))
        model.subgraphs[0].operators = []
    return lengths[0] - lengths[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    data = parser.parse_args().file.read_bytes()
    graph = schema.Model.GetRootAs(data, 0).Subgraphs(0)
    parts = {**spans(data), f"operators ({graph.OperatorsLength()})": operator_bytes(data)}
    parts[f"tensors' tables ({graph.TensorsLength()}), names, shapes, the rest"] = len(data) - sum(parts.values())
    print("| part | bytes | share |\n|---|---|---|")
    for name, size in (*parts.items(), ("file", len(data))):
        print(f"| {name} | {size:,} | {size / len(data):.0%} |")


if __name__ == "__main__":
    main()
