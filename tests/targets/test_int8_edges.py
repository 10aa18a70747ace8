"""What int8 files take and give besides their defaults, at every target that runs here."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
from int8_network import quantized_tiny
from target_contract import WEIGHTS, run_on_device

import lawder_edge
from lawder_edge.bundle.manifest import InputType, OutputKind
from lawder_edge.errors import BadInput
from lawder_edge.exporting.export import export_bundle
from lawder_edge.exporting.verify import measure, phantom_images
from lawder_edge.quantization.network import QuantizedNetwork
from lawder_edge.targets.qdq import integer_types
from lawder_edge.targets.registry import ExportSpec, get_target

CASES = [
    (target, output, taken)
    for target in ("onnx", "openvino", "tflite")
    for output in get_target(target).can("int8")[0]
    for taken in get_args(InputType)
    if output == "logits" or taken == "uint8"
]


@pytest.fixture(scope="module")
def model() -> QuantizedNetwork:
    return quantized_tiny()


@pytest.mark.parametrize(("target", "output", "taken"), CASES)
def test_it_is_certified_and_passes_its_check_on_the_device(
    target: str, output: OutputKind, taken: InputType, model: QuantizedNetwork, tmp_path: Path
) -> None:
    spec = ExportSpec(size=(64, 96), precision="int8", output=output, input_type=taken)
    bundle = export_bundle(model, target=target, spec=spec, weights_info=WEIGHTS, out=tmp_path / "tiny")
    assert bundle.manifest.input.dtype == taken
    certificate = measure(bundle, model, phantom_images(3))
    assert certificate.status == "certified", certificate.reason
    done = run_on_device(bundle.path, "--check")
    assert done.returncode == 0, done.stderr


def test_onnx_holds_activations_as_uint8_whose_products_saturate_on_no_processor(
    model: QuantizedNetwork, tmp_path: Path
) -> None:
    spec = ExportSpec(size=(64, 96), precision="int8")
    bundle = export_bundle(model, target="onnx", spec=spec, weights_info=WEIGHTS, out=tmp_path / "tiny")
    proto = onnx.load(str(bundle.model_path))
    assert any(node.op_type == "MatMul" for node in proto.graph.node)
    assert set(integer_types(proto).values()) == {np.dtype(np.uint8)}
    assert "uint8, asymmetric" in bundle.manifest.to_json()


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite"])
def test_every_input_type_gives_the_same_numbers(target: str, model: QuantizedNetwork, tmp_path: Path) -> None:
    frame = next(phantom_images(1).read()).frame
    found = []
    for taken in get_args(InputType):
        spec = ExportSpec(size=(64, 96), precision="int8", input_type=taken)
        bundle = export_bundle(model, target=target, spec=spec, weights_info=WEIGHTS, out=tmp_path / taken)
        runner = lawder_edge.load(bundle.path, threads=1)
        found.append(runner.infer(runner.prepare(frame)))
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)
    np.testing.assert_allclose(found[2], found[0], atol=1e-6)


def test_tflite_is_int8_at_both_ends_where_nothing_else_is_asked_for(model: QuantizedNetwork, tmp_path: Path) -> None:
    types = {}
    for taken in (None, *get_args(InputType)):
        spec = ExportSpec(size=(64, 96), precision="int8", input_type=taken)
        made = export_bundle(model, target="tflite", spec=spec, weights_info=WEIGHTS, out=tmp_path / str(taken))
        types[taken] = (made.manifest.input.dtype, made.manifest.output.dtype)
    assert types == {
        None: ("int8", "int8"),
        "float32": ("float32", "float32"),
        "uint8": ("uint8", "int8"),
        "int8": ("int8", "int8"),
    }


@pytest.mark.parametrize(
    ("target", "activations"),
    [("onnx", "uint8, asymmetric"), ("openvino", "uint8, asymmetric"), ("tensorrt", "int8, symmetric"),
     ("tflite", "int8, asymmetric")],
)  # fmt: skip
def test_the_manifest_tells_how_weights_and_activations_are_held(
    target: str, activations: str, model: QuantizedNetwork, tmp_path: Path
) -> None:
    spec = ExportSpec(size=(64, 96), precision="int8")
    made = export_bundle(model, target=target, spec=spec, weights_info=WEIGHTS, out=tmp_path / "tiny")
    assert made.manifest.quantization is not None
    assert made.manifest.quantization.activations.startswith(activations)
    assert made.manifest.quantization.weights.startswith("7 bits in int8, symmetric")


def test_an_int8_mask_is_refused_for_tflite_with_the_reason(model: QuantizedNetwork, tmp_path: Path) -> None:
    spec = ExportSpec(size=(64, 96), precision="int8", output="mask")
    with pytest.raises(
        BadInput, match=r"int8 has no --output mask: .*uint8.* It has: --output logits, --output prob\."
    ):
        export_bundle(model, target="tflite", spec=spec, weights_info=WEIGHTS, out=tmp_path / "tiny")
    assert list(tmp_path.iterdir()) == []
