from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from lawder_edge.errors import BadInput
from lawder_edge.graph.ir import Add, Conv2D, Graph, Op, Quantization, Reshape, Tensor
from lawder_edge.targets.tflite.writer import write

Q = Quantization.of(0.05, 3)


def constants(number: str, seed: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    steps = rng.uniform(0.01, 0.02, 8).astype(np.float32)
    weights = rng.integers(-63, 64, (8, 1, 1, 8)).astype(np.int8)
    return (
        Tensor(f"w{number}", weights.shape, "int8", Quantization.per_channel(steps, axis=0), weights),
        Tensor(
            f"b{number}", (8,), "int32", Quantization.per_channel(steps * np.float32(0.05), axis=0),
            rng.integers(-99, 99, 8).astype(np.int32),
        ),
    )  # fmt: skip


def network(second_seed: int = 1) -> Graph:
    tensors = [Tensor(n, (1, 4, 4, 8), "int8", Q) for n in ("image", "1", "2", "3")]
    tensors.append(Tensor("logits", (1, 16, 8), "int8", Q))
    ops = (
        Op(Conv2D(), ("image", "w0", "b0"), ("1",)),
        Op(Conv2D(), ("1", "w1", "b1"), ("2",)),
        Op(Add("relu"), ("1", "2"), ("3",)),
        Op(Reshape(), ("3",), ("logits",)),
    )
    return Graph("net", (*tensors, *constants("0", 0), *constants("1", second_seed)), ops, ("image",), ("logits",))


def parsed(data: bytes) -> schema.ModelT:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))


def test_the_same_graph_gives_the_same_bytes() -> None:
    assert write(network()).data == write(network()).data
    assert write(network()).data[4:8] == b"TFL3"


def test_the_file_says_what_the_graph_says() -> None:
    model = parsed(write(network()).data)
    (subgraph,) = model.subgraphs
    names = [t.name.decode() for t in subgraph.tensors if t.name]
    assert names == ["image", "1", "2", "3", "logits"]
    assert (model.version, model.description) == (3, b"net")
    assert [names[i] for i in (*subgraph.inputs, *subgraph.outputs) if i == 0] == ["image"]
    weights = subgraph.tensors[subgraph.operators[0].inputs[1]]
    np.testing.assert_array_equal(weights.quantization.scale, constants("0", 0)[0].quantization.scale)  # type: ignore[union-attr]
    assert (list(weights.quantization.zeroPoint), weights.quantization.quantizedDimension) == ([0] * 8, 0)
    raw = model.buffers[weights.buffer].data
    assert raw.tobytes() == constants("0", 0)[0].data.tobytes()  # type: ignore[union-attr]
    assert [op.builtinOptions.__class__.__name__ for op in subgraph.operators] == [
        "Conv2DOptionsT", "Conv2DOptionsT", "AddOptionsT", "ReshapeOptionsT"
    ]  # fmt: skip
    assert subgraph.operators[2].builtinOptions.fusedActivationFunction == schema.ActivationFunctionType.RELU


def test_constants_lie_on_16_bytes() -> None:
    data = write(network()).data
    for tensor in constants("0", 0):
        assert tensor.data is not None
        assert data.index(tensor.data.tobytes()) % 16 == 0


def test_constants_with_the_same_content_are_stored_once() -> None:
    one, two = write(network(second_seed=0)), write(network())
    assert len(parsed(one.data).subgraphs[0].tensors) == len(parsed(two.data).subgraphs[0].tensors) - 2
    assert one.sizes.weights < two.sizes.weights


def test_the_size_report_adds_up_to_the_file() -> None:
    sizes = write(network()).sizes
    parts = dataclasses.asdict(sizes)
    total = parts.pop("total")
    assert total == sum(parts.values()) == len(write(network()).data)
    assert min(parts.values()) > 0
    # Two constants of 64 bytes, each with its length, its table and up to 15 bytes of alignment.
    assert 128 <= sizes.weights <= 128 + 2 * 40
    # Two scales a channel of both convolutions, float32; zero points are shared.
    assert 128 <= sizes.scales <= 128 + 200


def test_metadata_is_read_back() -> None:
    model = parsed(write(network(), notes=(("threshold", "0.4"), ("name", "x"))).data)
    found = {m.name.decode(): bytes(model.buffers[m.buffer].data).decode() for m in model.metadata}
    assert found == {"min_runtime_version": "2.14.0", "name": "x", "threshold": "0.4"}


def test_a_graph_that_does_not_hold_together_is_not_written() -> None:
    with pytest.raises(BadInput, match="not computed before"):
        write(dataclasses.replace(network(), ops=network().ops[::-1]))
