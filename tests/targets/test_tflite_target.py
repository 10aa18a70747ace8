from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from edge_contract import EdgeContract
from int8_network import quantized_tiny
from target_contract import WEIGHTS, Tiny, largest_difference, randomised, run_on_device
from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.bundle.processing import to_tensor
from lawder_edge.bundle.store import Bundle, open_bundle
from lawder_edge.errors import BadInput
from lawder_edge.exporting.export import export_bundle
from lawder_edge.exporting.verify import measure, phantom_images
from lawder_edge.graph.reference import dequantize, quantize, run, trace
from lawder_edge.models import create_model
from lawder_edge.models.deploy import to_deploy
from lawder_edge.quantization.network import QuantizedNetwork
from lawder_edge.quantization.prepare import prepare
from lawder_edge.runners.tflite.network import load_runtime
from lawder_edge.targets.nhwc import to_graph
from lawder_edge.targets.registry import ExportSpec
from lawder_edge.targets.tflite import TfliteRunner, export, load
from lawder_edge.targets.tflite.writer import write

FIXED = ExportSpec(size=(64, 96))
INT8 = ExportSpec(size=(64, 96), precision="int8")


def operators(path: Path) -> list[str]:
    """Names of the operators in a .tflite, in their order."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    return [names[model.operatorCodes[op.opcodeIndex].builtinCode] for op in model.subgraphs[0].operators]


def metadata(path: Path) -> dict[str, str]:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    return {m.name.decode(): bytes(model.buffers[m.buffer].data).decode() for m in model.metadata}


class TestTflite(EdgeContract):
    target = "tflite"
    any_size = False

    def stored_type(self, bundle: Bundle) -> str:
        runner = load(bundle)
        assert isinstance(runner, TfliteRunner)
        return str(np.dtype(runner._input["dtype"]))

    def test_the_file_alone_tells_how_to_use_it(self, exported: Path) -> None:
        assert metadata(open_bundle(exported).model_path) == {
            "min_runtime_version": "2.14.0",
            "input_range": "(rgb-128)/128",
            "name": "tests_Tiny-tflite-fp32",
            "threshold": "0.4",
        }

    def test_a_file_of_any_size_or_batch_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="of any size was asked for"):
            export(Tiny(), ExportSpec(), tmp_path / "a.tflite")
        with pytest.raises(BadInput, match="for any batch was asked for"):
            export(Tiny(), ExportSpec(size=(64, 96), dynamic_batch=True), tmp_path / "a.tflite")
        assert list(tmp_path.iterdir()) == []

    def test_reference_kernels_can_be_chosen_and_agree(self, exported: Path, model: nn.Module) -> None:
        runner = load(open_bundle(exported), threads=1, kernels="reference")
        assert largest_difference(runner, model, (1, 3, 256, 256)) <= self.tolerance

    def test_the_runner_tells_that_litert_is_missing(self, copied: Path) -> None:
        done = run_on_device(copied, "--check", absent=(*self.absent, "ai_edge_litert", "tflite_runtime"))
        assert done.returncode == 4
        assert "ai_edge_litert is missing: pip install numpy ai-edge-litert pillow" in done.stderr


class TestInt8:
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> QuantizedNetwork:
        return quantized_tiny()

    @pytest.fixture(scope="class")
    @classmethod
    def bundle(cls, model: QuantizedNetwork, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
        out = tmp_path_factory.mktemp("int8") / "tiny"
        return export_bundle(model, target="tflite", spec=INT8, weights_info=WEIGHTS, out=out)

    def test_it_is_certified_against_the_quantised_network(self, bundle: Bundle, model: QuantizedNetwork) -> None:
        certificate = measure(bundle, model, phantom_images(3))
        assert certificate.status == "certified", certificate.reason
        assert bundle.manifest.quantization is not None
        assert "half away from zero" in bundle.manifest.quantization.rounding

    def test_it_is_integer_from_input_to_output(self, bundle: Bundle) -> None:
        found = operators(bundle.model_path)
        assert not {"QUANTIZE", "DEQUANTIZE"} & set(found)
        assert len(found) > 10
        runner = load(bundle, threads=1)
        assert isinstance(runner, TfliteRunner)
        assert runner.infer_stored(np.zeros((1, 64, 96, 3), np.int8)).dtype == np.int8

    def test_the_input_is_the_frames_bytes_with_the_top_bit_turned(
        self, bundle: Bundle, model: QuantizedNetwork
    ) -> None:
        frame = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
        runner = load(bundle, threads=1)
        assert isinstance(runner, TfliteRunner)
        stored = runner.infer_stored((frame ^ 0x80).view(np.int8)[None])
        logits = runner.infer(to_tensor(frame, (64, 96)))
        output = to_graph(model.program((64, 96)), INT8).tensor("logits")
        np.testing.assert_array_equal(dequantize(stored, output)[..., 0], logits[:, 0])

    def test_reference_kernels_give_the_numpy_references_bits(self, bundle: Bundle, model: QuantizedNetwork) -> None:
        graph = to_graph(model.program((64, 96)), INT8)
        runner = load(bundle, threads=1, kernels="reference")
        assert isinstance(runner, TfliteRunner)
        for seed in range(4):
            x = np.random.default_rng(seed).integers(-128, 128, (1, 64, 96, 3)).astype(np.int8)
            np.testing.assert_array_equal(runner.infer_stored(x), run(graph, [x])[0])

    def test_the_same_network_gives_the_same_bytes(
        self, bundle: Bundle, model: QuantizedNetwork, tmp_path: Path
    ) -> None:
        again = export_bundle(model, target="tflite", spec=INT8, weights_info=WEIGHTS, out=tmp_path / "again")
        assert again.manifest.model_entry == bundle.manifest.model_entry

    def test_the_runner_reproduces_the_golden_frames_without_this_package(self, bundle: Bundle) -> None:
        done = run_on_device(bundle.path, "--check")
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 3

    def test_weights_that_are_not_quantised_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="lawder-edge qat"):
            export(randomised(Tiny()), INT8, tmp_path / "a.tflite")

    def test_a_quantised_program_is_not_float32(self, model: QuantizedNetwork, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="--precision int8"):
            export(model.program((64, 96)), FIXED, tmp_path / "a.tflite")


class DeadUnits(nn.Module):
    """A ReLU that is never positive, whose learnt range is therefore empty."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 1, 1)
        nn.init.constant_(self.conv.bias, -100)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(F.relu(self.conv(x)))
        return logits


def test_a_network_with_dead_units_still_runs(tmp_path: Path) -> None:
    deployed = to_deploy(DeadUnits())
    learning = prepare(deployed, size=(64, 96)).train()
    learning(torch.zeros(1, 3, 64, 96))
    model = QuantizedNetwork(deployed, learning.scales(), channels=3)
    bundle = export_bundle(model, target="tflite", spec=INT8, weights_info=WEIGHTS, out=tmp_path / "dead")
    assert largest_difference(load(bundle, threads=1), model, (1, 3, 64, 96)) <= 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "channels", "classes"), [("order", 3, 1), ("mk_order", 3, 1), ("mk_unet_t", 1, 3), ("unet", 3, 2)]
)
class TestNetworks:
    """At random weights, whose attention is steep."""

    def test_float_logits_are_pytorchs(self, name: str, channels: int, classes: int, tmp_path: Path) -> None:
        model = randomised(create_model(name, in_channels=channels, num_classes=classes), gain=0.7)
        spec = ExportSpec(size=(64, 96), channels=channels, classes=classes)
        bundle = export_bundle(model, target="tflite", spec=spec, weights_info=WEIGHTS, out=tmp_path / name)
        assert largest_difference(load(bundle, threads=1), model, (1, channels, 64, 96)) <= 1e-4
        assert "TRANSPOSE" not in operators(bundle.model_path)

    def test_integer_networks_have_no_transpose_and_stay_small(
        self, name: str, channels: int, classes: int, tmp_path: Path
    ) -> None:
        net = randomised(create_model(name, in_channels=channels, num_classes=classes), gain=0.7)
        deployed = to_deploy(net)
        learning = prepare(deployed, size=(64, 96), channels=channels).train()
        learning(torch.rand(2, channels, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1)
        program = QuantizedNetwork(deployed, learning.scales(), channels=channels).program((64, 96))
        spec = ExportSpec(size=(64, 96), precision="int8", channels=channels, classes=classes)
        artifact = export(program, spec, tmp_path / "a.tflite")
        assert not {"TRANSPOSE", "QUANTIZE", "DEQUANTIZE"} & set(operators(artifact.path))
        assert artifact.size_bytes <= 170_000


@pytest.mark.slow
def test_order_is_bit_exact_in_numpy_litert_and_tflm(tmp_path: Path) -> None:
    """Every tensor on 8 frames, the output on 32; TFLM shows its output alone."""
    from tflite_micro.python.tflite_micro import runtime

    deployed = to_deploy(randomised(create_model("order"), gain=0.7))
    frames = [next(phantom_images(1, seed=n).read()).frame for n in range(32)]
    tensors = [to_tensor(frame, (64, 96)) for frame in frames]
    learning = prepare(deployed, size=(64, 96)).train()
    learning(torch.from_numpy(np.concatenate(tensors[:4])))
    graph = to_graph(QuantizedNetwork(deployed, learning.scales(), channels=3).program((64, 96)), INT8)
    data = write(graph).data
    litert = Interpreter(
        model_content=data,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    litert.allocate_tensors()
    index = {detail["name"]: detail["index"] for detail in litert.get_tensor_details()}
    micro = runtime.Interpreter.from_bytes(data, arena_size=1 << 23)
    for n, tensor in enumerate(tensors):
        x = quantize(tensor.transpose(0, 2, 3, 1), graph.tensor("image"))
        litert.set_tensor(index["image"], x)
        litert.invoke()
        micro.set_input(x, 0)
        micro.invoke()
        for made, value in trace(graph, [x]):
            if n < 8 or made.name == "logits":
                np.testing.assert_array_equal(litert.get_tensor(index[made.name]), value, err_msg=made.name)
        np.testing.assert_array_equal(micro.get_output(0), value)


def test_the_device_runner_takes_tflite_runtime_where_litert_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    old = ModuleType("tflite_runtime")
    old.interpreter = ModuleType("tflite_runtime.interpreter")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", old)
    assert load_runtime() is old.interpreter  # type: ignore[attr-defined]
