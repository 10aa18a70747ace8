"""Runtimes of int8 bundles whose quantised tensors can be read while they compute."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lawder_edge.bundle.processing import Float, Samples
from lawder_edge.bundle.runner import ManifestRunner
from lawder_edge.bundle.store import Bundle
from lawder_edge.errors import BadBundle, BadInput, Unavailable
from lawder_edge.graph.ir import Array, Graph, Tensor
from lawder_edge.graph.reference import dequantize, trace
from lawder_edge.quantization.network import QuantizedNetwork
from lawder_edge.quantization.tensors import QuantizedTensor
from lawder_edge.targets import qdq
from lawder_edge.targets.onnx import open_session
from lawder_edge.targets.openvino import core, cpu_config
from lawder_edge.targets.registry import ExportSpec
from lawder_edge.targets.tflite import TfliteRunner, to_graph

Int8 = npt.NDArray[np.int8]
# Scales are float32 in every file; a relative difference above its rounding is another scale.
_SAME_SCALE = 1e-5


@dataclass(frozen=True)
class Watched:
    """Of one image. tensors: by the program's names, in the shapes that PyTorch has them in; those that the runtime
    does not give are left out. output: as `Runner.infer` gives it.
    """

    tensors: Mapping[str, Int8]
    output: Samples


class Watcher(ABC):
    """A runtime that gives its inner tensors. name: for the table."""

    name: str

    @abstractmethod
    def read(self, x: Float) -> Watched:
        """x: (1, C, H, W) float32 in [-1, 1)."""

    @abstractmethod
    def remark(self, largest: float) -> str:
        """What is to be known of it. largest: difference of its outputs from those of the bundle as it is run."""


def watchers_of(
    bundle: Bundle, network: QuantizedNetwork, tensors: Sequence[QuantizedTensor], *, threads: int = 0
) -> tuple[Watcher, ...]:
    """All that can be watched of an int8 bundle. tensors: of `network`, from which the bundle was exported.

    Raises BadInput for a target that hides its tensors; BadBundle where the file has other tensors than `network`.
    """
    target = bundle.manifest.target
    if target == "onnx":
        return (OnnxWatcher(bundle, tensors, threads=threads),)
    if target == "openvino":
        return (OpenVinoWatcher(bundle, tensors, threads=threads),)
    if target == "tflite":
        graph = _graph(bundle, network)
        return (TfliteWatcher(bundle, graph, threads=threads), ReferenceWatcher(bundle, graph))
    if target == "c":
        return (ReferenceWatcher(bundle, _graph(bundle, network)),)
    raise BadInput(
        f"{bundle.path}: {target} does not give its inner tensors. Export the same checkpoint for onnx, openvino or "
        "tflite, and look at the layers of that."
    )


class OnnxWatcher(ManifestRunner, Watcher):
    """onnxruntime on the bundle's file with the integers of every quantised tensor as outputs more.

    They are what its fused operators give, so that fusion stays but for corners: ORDER's logits move by one step on
    some images and by none on others, which the remark tells.
    """

    name = "onnxruntime"

    def __init__(self, bundle: Bundle, tensors: Sequence[QuantizedTensor], *, threads: int = 0) -> None:
        try:
            import onnx
        except ImportError as error:
            raise Unavailable(
                "onnx is not installed, which is needed to look into the file. Install it: pip install "
                "'lawder-edge[onnx]'."
            ) from error
        super().__init__(bundle.manifest)
        proto = onnx.load(str(bundle.model_path))
        found = qdq.activations(proto)
        _check_same(bundle, found, tensors)
        watched = copy.deepcopy(proto)
        for tensor in found:
            value = onnx.helper.make_tensor_value_info(tensor.name, onnx.TensorProto.INT8, None)
            watched.graph.output.append(value)
        self._names = {mine.name: theirs.name for mine, theirs in zip(tensors, found, strict=True)}
        self._session = open_session(watched.SerializeToString(), threads=threads)
        self._input = proto.graph.input[0].name

    def read(self, x: Float) -> Watched:
        names = [self.kind, *self._names.values()]
        output, *values = self._session.run(names, {self._input: self._checked(x)})
        return Watched(dict(zip(self._names, values, strict=True)), output)

    def infer(self, tensor: Float) -> Samples:
        return self.read(tensor).output

    def remark(self, largest: float) -> str:
        return f"onnxruntime: {_same_or(largest)} when its tensors are watched"


class OpenVinoWatcher(ManifestRunner, Watcher):
    """OpenVINO on the bundle's file with outputs more. Its integers are uint8, 128 higher.

    The tensors that `qdq.with_plain_rounding_before_sums` rounds by a Round have no integers and are not watched.
    """

    name = "OpenVINO"

    def __init__(self, bundle: Bundle, tensors: Sequence[QuantizedTensor], *, threads: int = 0) -> None:
        super().__init__(bundle.manifest)
        model = core().read_model(str(bundle.model_path))
        given = {name: out for op in model.get_ops() for out in op.outputs() for name in out.get_names()}
        self._all = len(tensors)
        self._names = [t.name for t in tensors if t.name in given]
        if not self._names:
            raise BadBundle(f"{bundle.model_path} names none of the network's tensors. Export the bundle again.")
        _check_same(
            bundle,
            [_fake_quantize(name, given[name], bundle) for name in self._names],
            [t for t in tensors if t.name in given],
        )
        for name in self._names:
            model.add_outputs(name)
        self._compiled = core().compile_model(model, "CPU", cpu_config(threads))

    def read(self, x: Float) -> Watched:
        values = self._compiled([self._checked(x)])
        tensors = {
            name: (np.asarray(values[i]).astype(np.int16) - 128).astype(np.int8)
            for i, name in enumerate(self._names, start=1)
        }
        return Watched(tensors, np.asarray(values[0]))

    def infer(self, tensor: Float) -> Samples:
        return self.read(tensor).output

    def remark(self, largest: float) -> str:
        hidden = self._all - len(self._names)
        told = f"OpenVINO: {_same_or(largest)} when its tensors are watched"
        if not hidden:
            return told
        return (
            f"{told}; {hidden} of {self._all}, convolutions that are added to another tensor, it rounds as real "
            "numbers, and they are not watched"
        )


class TfliteWatcher(Watcher):
    """The bundle's .tflite in LiteRT's reference kernels, which keep every tensor. graph: that it was written from."""

    name = "LiteRT reference"

    def __init__(self, bundle: Bundle, graph: Graph, *, threads: int = 0) -> None:
        self._runner = TfliteRunner(bundle, threads=threads, kernels="reference", keep_tensors=True)
        self._path = bundle.model_path
        self._tensors = [t for t in graph.tensors if t.origin is not None and t.data is None]

    def read(self, x: Float) -> Watched:
        output = self._runner.infer(x)
        values = self._runner.inner_tensors()
        return Watched(dict(_as_in_program(t, self._value(t, values)) for t in self._tensors), output)

    def remark(self, largest: float) -> str:
        return (
            "LiteRT: its reference kernels are watched; XNNPACK, which it runs by itself, does not give its inner "
            f"tensors, and its output is {_equal_or(largest)} the reference kernels'"
        )

    def _value(self, tensor: Tensor, values: Mapping[str, Array]) -> Array:
        value = values.get(tensor.name)
        if value is None or value.shape != tensor.shape or value.dtype != np.int8:
            got = "none" if value is None else f"{value.dtype} of {value.shape}"
            raise BadBundle(
                f"{self._path}: wanted int8 of {tensor.shape} for tensor {tensor.name!r}, got {got}. It was written by "
                "another release; export the bundle again."
            )
        return value


class ReferenceWatcher(ManifestRunner, Watcher):
    """The graph that a bundle was written from, in numpy's integers."""

    name = "integer reference"

    def __init__(self, bundle: Bundle, graph: Graph) -> None:
        super().__init__(bundle.manifest)
        self._graph = graph

    def read(self, x: Float) -> Watched:
        given = np.ascontiguousarray(self._checked(x).transpose(0, 2, 3, 1))
        tensors: dict[str, Int8] = {}
        output: Array = given
        for tensor, value in trace(self._graph, [given]):
            if tensor.origin is not None:
                name, array = _as_in_program(tensor, value)
                tensors[name] = array
            if tensor.name in self._graph.outputs:
                output = dequantize(value, tensor) if tensor.dtype == "int8" else value
        return Watched(tensors, np.ascontiguousarray(output.transpose(0, 3, 1, 2)))

    def infer(self, tensor: Float) -> Samples:
        return self.read(tensor).output

    def remark(self, largest: float) -> str:
        return f"integer reference: the output of the bundle as it is run is {_equal_or(largest)} the reference's"


def _graph(bundle: Bundle, network: QuantizedNetwork) -> Graph:
    manifest = bundle.manifest
    size = (manifest.input.height, manifest.input.width)
    spec = ExportSpec(
        name=manifest.name,
        size=size,
        precision="int8",
        channels=manifest.input.channels,
        classes=manifest.output.classes,
        multiple_of=manifest.input.multiple_of,
        output=manifest.output.kind,
        input_type=manifest.input.dtype,
        threshold=manifest.threshold,
    )
    return to_graph(network.program(size), spec)


def _as_in_program(tensor: Tensor, value: Array) -> tuple[str, Int8]:
    """Its name in the program, and its integers with the axes in the program's order."""
    if tensor.origin is None:
        raise ValueError(f"tensor {tensor.name} has no origin")
    return tensor.origin.node, value.transpose(np.argsort(tensor.origin.layout))


def _check_same(bundle: Bundle, found: Sequence[qdq.Activation], wanted: Sequence[QuantizedTensor]) -> None:
    """Raises BadBundle where a file's quantised tensors are not those of the network."""
    if len(found) != len(wanted):
        raise BadBundle(
            f"{bundle.model_path} has {len(found)} quantised tensors, its network {len(wanted)}. It was written by "
            "another release; export the bundle again."
        )
    for a, b in zip(found, wanted, strict=True):
        if abs(a.scale - b.scale) > _SAME_SCALE * b.scale or a.zero_point != b.zero_point:
            raise BadBundle(
                f"{bundle.model_path}: tensor {a.name} has scale {a.scale:.6g}, zero point {a.zero_point}, and its "
                f"network {b.scale:.6g}, {b.zero_point} for {b.name}. It was written by another release; export the "
                "bundle again."
            )


def _fake_quantize(name: str, output: Any, bundle: Bundle) -> qdq.Activation:
    """Scale, and zero point as of int8, of what OpenVINO reads from a QuantizeLinear: FakeQuantize before Convert."""
    node = output.get_node()
    maker = node.input(0).get_source_output().get_node() if node.get_input_size() else node
    if maker.get_type_name() != "FakeQuantize":
        raise BadBundle(
            f"{bundle.model_path}: {name} is made by {maker.get_type_name()}; wanted FakeQuantize. It was written by "
            "another release of openvino; export the bundle again."
        )
    low, high = (maker.input(i).get_source_output().get_node().data.item() for i in (1, 2))
    scale = (high - low) / 255
    return qdq.Activation(name, scale, round(-low / scale) - 128)


def _same_or(largest: float) -> str:
    return "its output stays the same" if largest == 0 else f"its output changes by up to {largest:.3g}"


def _equal_or(largest: float) -> str:
    return "equal to" if largest == 0 else f"up to {largest:.3g} from"
