"""Where an int8 bundle starts to differ from PyTorch, on a small network."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from int8_network import quantized_tiny
from numpy.typing import NDArray
from onnx import numpy_helper
from target_contract import WEIGHTS, Tiny, randomised

from lawder_edge.bundle.store import Bundle
from lawder_edge.cli.main import run
from lawder_edge.errors import BadBundle, BadInput
from lawder_edge.exporting import layers as rooms
from lawder_edge.exporting import outcome
from lawder_edge.exporting.export import export_bundle
from lawder_edge.exporting.layers import Difference, Layers, WatchedRuntime, compare_layers, first_difference
from lawder_edge.exporting.verify import phantom_images
from lawder_edge.quantization.network import QuantizedNetwork
from lawder_edge.quantization.tensors import ProgramTensors
from lawder_edge.targets import qdq
from lawder_edge.targets.registry import ExportSpec
from lawder_edge.targets.watch import Watched, Watcher

SIZE = (64, 96)
INT8 = ExportSpec(size=SIZE, precision="int8")


@pytest.fixture(scope="module")
def network() -> QuantizedNetwork:
    return quantized_tiny()


def exported(network: torch.nn.Module, target: str, folder: Path, spec: ExportSpec = INT8) -> Bundle:
    return export_bundle(
        network, target=target, spec=spec, weights_info=WEIGHTS, out=folder / target, predict_size=SIZE
    )


@pytest.fixture(scope="module")
def onnx_bundle(network: QuantizedNetwork, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return exported(network, "onnx", tmp_path_factory.mktemp("layers"))


@pytest.fixture(scope="module")
def tflite_layers(network: QuantizedNetwork, tmp_path_factory: pytest.TempPathFactory) -> Layers:
    bundle = exported(network, "tflite", tmp_path_factory.mktemp("layers"))
    return compare_layers(bundle, network, phantom_images(2), threads=1)


def changed_at(bundle: Bundle, folder: Path, weight: str) -> Bundle:
    """The bundle with one weight's integers negated; its hash then no longer holds, which `open_bundle` tells."""
    proto = onnx.load(str(bundle.model_path))
    found = [i for i in proto.graph.initializer if i.name == weight]
    assert len(found) == 1, [i.name for i in proto.graph.initializer]
    found[0].CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(found[0]), weight))
    onnx.save(proto, str(folder / bundle.manifest.model_file))
    return Bundle(folder, bundle.manifest)


def test_tensors_come_in_the_order_of_computation_with_their_modules(network: QuantizedNetwork) -> None:
    tensors = ProgramTensors(network, size=SIZE).tensors
    assert [(t.module, t.operator, t.shape) for t in tensors[:3]] == [
        ("", "input", (1, 3, 64, 96)),
        ("stem", "conv2d", (1, 8, 64, 96)),
        ("", "conv2d+relu6", (1, 8, 64, 96)),
    ]
    assert (tensors[-1].module, tensors[-1].operator, tensors[-1].shape) == ("head", "conv2d", (1, 1, 64, 96))
    operators = [t.operator for t in tensors]
    assert operators.index("mean") < operators.index("max_pool2d") < operators.index("upsample_bilinear2d")


def test_the_last_tensor_is_what_the_quantised_network_gives(network: QuantizedNetwork) -> None:
    program = ProgramTensors(network, size=SIZE)
    x = np.random.default_rng(0).integers(-128, 128, (1, 3, *SIZE)).astype(np.float32) / 128
    computed, last = program.compute(x), program.tensors[-1]
    with torch.no_grad():
        logits = network.eval()(torch.from_numpy(x)).numpy()
    steps = computed.int8[last.name].astype(np.float32) - last.zero_point
    np.testing.assert_allclose(steps * last.scale, logits, atol=1e-5)


def test_rounding_moves_an_exact_input_by_nothing_and_the_next_tensor_by_a_quarter_of_a_step(
    network: QuantizedNetwork,
) -> None:
    program = ProgramTensors(network, size=SIZE)
    # Within the range that was learnt, so that little saturates.
    x = np.random.default_rng(0).integers(-32, 32, (1, 3, *SIZE)).astype(np.float32) / 128
    moved = program.compute(x).moved
    assert moved[program.tensors[0].name] == 0
    assert moved[program.tensors[1].name] == pytest.approx(0.25, abs=0.02)


class PyTorchItself(Watcher):
    """A runtime that gives PyTorch's integers, and nothing of its last tensor."""

    name = "same"

    def __init__(self, network: QuantizedNetwork) -> None:
        self._program = ProgramTensors(network, size=SIZE)

    def read(self, x: NDArray[np.float32]) -> Watched:
        tensors = dict(self._program.compute(x).int8)
        del tensors[self._program.tensors[-1].name]
        return Watched(tensors, np.zeros((1, 1, *SIZE), np.float32))

    def remark(self, largest: float) -> str:
        return f"{largest > 0}"


def test_a_runtime_that_computes_the_same_shows_zeros(
    network: QuantizedNetwork, onnx_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "watchers_of", lambda *args, **kwargs: (PyTorchItself(network),))
    found = compare_layers(onnx_bundle, network, phantom_images(2), threads=1)
    assert found.images == 2
    same = [(Difference(0.0, 0.0, 0),)] * (len(found.layers) - 1)
    assert [layer.differences for layer in found.layers] == [*same, (None,)]
    assert found.runtimes == (WatchedRuntime("same", None, "True"),)


def first_gated(found: Layers) -> int:
    """Where runtimes may round otherwise than PyTorch: the product with the gate, and the pooling of 256 values after
    it, come to halves of a step, which the order of float operations decides."""
    return [layer.tensor.operator for layer in found.layers].index("mul")


def test_onnxruntime_is_watched_throughout_and_computes_as_unwatched(
    network: QuantizedNetwork, onnx_bundle: Bundle
) -> None:
    found = compare_layers(onnx_bundle, network, phantom_images(2), threads=1)
    differences = [layer.differences[0] for layer in found.layers]
    gated = first_gated(found)
    assert differences[:gated] == [Difference(0.0, 0.0, 0)] * gated
    assert None not in differences
    assert max(d.largest for d in differences if d is not None) <= 2
    (runtime,) = found.runtimes
    assert runtime.first is None or runtime.first >= gated
    # What is watched is not fused: a step or two.
    said = r"(?:stays the same|changes by up to (\S+))"
    changed = re.fullmatch(f"onnxruntime: its output {said} when its tensors are watched", runtime.remark)
    assert changed is not None
    assert float(changed[1] or 0) <= 2.01 * found.layers[-1].tensor.scale


def test_a_file_of_int8_activations_is_watched_too(
    network: QuantizedNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qdq, "to_uint8", lambda proto: proto)
    bundle = exported(network, "onnx", tmp_path)
    assert set(qdq.integer_types(onnx.load(str(bundle.model_path))).values()) == {np.dtype(np.int8)}
    first = compare_layers(bundle, network, phantom_images(1), threads=1).layers[0]
    assert first.differences == (Difference(0.0, 0.0, 0),)


@pytest.mark.parametrize(("weight", "where"), [("int8_weight_0", 1), ("int8_weight_1", 2), ("int8_weight_2", 23)])
def test_a_changed_weight_is_located(
    weight: str, where: int, network: QuantizedNetwork, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    found = compare_layers(changed_at(onnx_bundle, tmp_path, weight), network, phantom_images(1), threads=1)
    (runtime,) = found.runtimes
    assert runtime.first == where
    difference = found.layers[where].differences[0]
    assert difference is not None
    assert difference.largest > 1


def test_a_file_of_another_network_is_refused(network: QuantizedNetwork, onnx_bundle: Bundle, tmp_path: Path) -> None:
    proto = onnx.load(str(onnx_bundle.model_path))
    node = next(n for n in proto.graph.node if n.op_type == "QuantizeLinear")
    proto.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "other"))
    for reader in [node, *(n for n in proto.graph.node if node.output[0] in n.input)]:
        reader.input[1] = "other"
    onnx.save(proto, str(tmp_path / onnx_bundle.manifest.model_file))
    with pytest.raises(BadBundle, match=r"has scale 0\.5, zero point 0, and its network 0\.0078125, 0"):
        compare_layers(Bundle(tmp_path, onnx_bundle.manifest), network, phantom_images(1), threads=1)


def test_litert_s_reference_kernels_equal_the_integer_reference_in_every_tensor(
    tflite_layers: Layers,
) -> None:
    assert [r.name for r in tflite_layers.runtimes] == ["LiteRT reference", "integer reference"]
    for layer in tflite_layers.layers:
        litert, reference = layer.differences
        assert litert == reference
    # What only moves values may be no tensor of its own in NHWC.
    hidden = {layer.tensor.operator for layer in tflite_layers.layers if layer.differences[0] is None}
    assert hidden <= {"view", "transpose"}


def test_integers_of_tflite_stand_in_the_program_s_order_of_axes(tflite_layers: Layers) -> None:
    """Axes in another order would move most elements by many steps; rounding moves one of a mean's 8 by one."""
    for layer in tflite_layers.layers:
        difference = layer.differences[0]
        assert difference is None or difference.mean < 0.25, layer
    # TFLite's rounding differs from PyTorch's, so that zeros throughout would mean that nothing was compared.
    assert tflite_layers.runtimes[0].first is not None


def test_openvino_is_watched_where_it_rounds_by_a_pair(network: QuantizedNetwork, tmp_path: Path) -> None:
    found = compare_layers(exported(network, "openvino", tmp_path), network, phantom_images(1), threads=1)
    seen = [layer.differences[0] for layer in found.layers]
    assert seen[0] == Difference(0.0, 0.0, 0)
    # No convolution of this network goes into a sum alone.
    assert None not in seen
    first = found.runtimes[0].first
    assert first is None or first >= first_gated(found)


@pytest.mark.parametrize(
    ("target", "kind"), [("onnx", "mask"), ("openvino", "probabilities"), ("tflite", "probabilities")]
)
def test_files_with_other_edges_are_watched_too(
    target: str, kind: str, network: QuantizedNetwork, tmp_path: Path
) -> None:
    spec = replace(INT8, output=kind, input_type="uint8")  # type: ignore[arg-type]
    found = compare_layers(exported(network, target, tmp_path, spec), network, phantom_images(1), threads=1)
    assert found.layers[0].differences[0] == Difference(0.0, 0.0, 0)
    assert all(layer.differences[0] is not None for layer in found.layers[:3])


def test_a_float_bundle_is_refused(network: QuantizedNetwork, tmp_path: Path) -> None:
    bundle = exported(randomised(Tiny()), "onnx", tmp_path, ExportSpec(size=SIZE))
    with pytest.raises(BadInput, match="precision fp32; --layers is for int8 bundles"):
        compare_layers(bundle, network, phantom_images(1))


def test_the_first_difference_is_the_first_of_more_than_a_thousandth() -> None:
    def share(value: float) -> Difference:
        return Difference(value, value, 1)

    assert first_difference([share(0), None, share(rooms.STARTS_AT), share(0.002), share(0.5)]) == 3
    assert first_difference([share(0), None]) is None


def test_the_command_prints_a_row_a_tensor_and_names_the_first(
    network: QuantizedNetwork,
    onnx_bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    loaded = SimpleNamespace(quantized=network, record=SimpleNamespace(num_classes=1))
    monkeypatch.setattr(outcome, "source_model", lambda bundle, model: loaded)
    asked = ["verify", str(onnx_bundle.path), "--layers", "--limit", "1", "--threads", "1"]
    assert run(asked) == 0
    table = capsys.readouterr().out
    assert table.startswith("on 1 phantom frames")
    assert "1x8x64x96" in table
    assert "onnxruntime: no tensor where more than 0.1% of the elements differ" in table
    assert run([*asked, "--format", "json"]) == 0
    given = json.loads(capsys.readouterr().out)
    assert given["layers"][1]["tensor"]["module"] == "stem"
    assert given["runtimes"][0]["first"] is None
    assert run([*asked, "--all"]) == 2
    assert "Leave one of them out" in capsys.readouterr().err
