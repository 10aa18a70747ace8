"""OpenVINO: an .xml and a .bin made from the ONNX form, run by OpenVINO on the CPU."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from lawder_edge.bundle.certificate import FP16_LIMITS, FP32_LIMITS, INT8_LIMITS
from lawder_edge.bundle.processing import Float, Samples
from lawder_edge.bundle.runner import ManifestRunner, Runner
from lawder_edge.bundle.store import Bundle
from lawder_edge.errors import BadBundle, last_line
from lawder_edge.files import write_file
from lawder_edge.targets import qdq
from lawder_edge.targets.onnx import to_proto
from lawder_edge.targets.registry import Artifact, ExportSpec, Program, Target
from lawder_edge.targets.watch import Activation, Watched, Watcher, as_int8, check_same, same_or
from lawder_edge.versions import tool_of

if TYPE_CHECKING:
    from torch.export import ExportedProgram

# The section of rt_info that holds what a reader of the two files alone has to know.
SECTION = "lawder_edge"

TARGET = Target(
    name="openvino",
    suffix=".xml",
    precisions=("fp32", "fp16", "int8"),
    layout="NCHW",
    extra="openvino",
    description="OpenVINO for Intel and Arm processors",
    module=__name__,
    to_export=("torch", "onnx", "onnxscript", "openvino"),
    to_run=("openvino",),
    gates=(("fp32", FP32_LIMITS), ("fp16", FP16_LIMITS), ("int8", INT8_LIMITS)),
    forms=(("fp32", "onnx"), ("fp16", "onnx"), ("int8", "onnx")),
    reads=("opset",),
    activations="uint8, asymmetric, one scale a tensor",
    beside=(".bin",),
    watches=True,
    stores_only=("fp16",),
)


@dataclass(frozen=True)
class LayerPrecision:
    """How many layers of one kind ("Convolution") the runtime computes in one format ("u8"), by its own report."""

    kind: str
    precision: str
    count: int


def export(program: Program, spec: ExportSpec, out: Path) -> Artifact:
    """Write `program` as `out`, an .xml, with its weights as the .bin of the same name beside it.

    Input `image` and one output as in `onnx.to_proto`, float32 at every precision unless asked otherwise. fp16 stores
    weights in half precision; int8 wants a program with quantize and dequantize nodes, and runs as uint8. The .xml
    holds the hash of the .bin, so that its own hash stands for both.

    The same program, spec and tool versions give the same bytes. Raises BadInput as `onnx.to_proto`, and for int8 of a
    network that is not quantised.
    """
    import openvino as ov

    proto = to_proto(program, spec)
    if spec.precision == "int8":
        qdq.check_quantized(proto)
        proto = qdq.with_plain_rounding_before_sums(qdq.to_uint8(proto))
    network = core().read_model(proto.SerializeToString(deterministic=True))
    _describe(network, spec)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "network.xml")
        ov.save_model(network, str(written), compress_to_fp16=spec.precision == "fp16")
        xml, weights = written.read_bytes(), written.with_suffix(".bin").read_bytes()
    data = _clean(xml, weights_sha256=hashlib.sha256(weights).hexdigest())
    write_file(out.with_suffix(".bin"), weights)
    write_file(out, data)
    tools = tuple(tool_of(module) for module in ("onnx", "onnxscript", "openvino", "torch"))
    return Artifact(out, hashlib.sha256(data).hexdigest(), len(data) + len(weights), tools)


def load(bundle: Bundle, *, threads: int = 0) -> Runner:
    """Open the bundle's model in OpenVINO on the CPU. threads: 0 leaves the choice to it. Raises BadBundle."""
    return OpenVinoRunner(bundle, threads=threads)


def watch(
    bundle: Bundle, program: Callable[[], ExportedProgram], tensors: Sequence[Activation], *, threads: int = 0
) -> tuple[Watcher, ...]:
    """As `Target.watch`: OpenVINO on the bundle's files."""
    return (OpenVinoWatcher(bundle, tensors, threads=threads),)


class OpenVinoRunner(ManifestRunner):
    """A bundle's OpenVINO files on the CPU."""

    def __init__(self, bundle: Bundle, *, threads: int = 0) -> None:
        import openvino as ov

        super().__init__(bundle.manifest)
        try:
            network = core().read_model(str(bundle.model_path))
            self._compiled = core().compile_model(network, "CPU", cpu_config(threads))
        except RuntimeError as error:
            raise BadBundle(
                f"{bundle.model_path}: OpenVINO {ov.__version__} refuses it ({last_line(error)}). Update openvino, or "
                "export the bundle again."
            ) from error

    def infer(self, tensor: Float) -> Samples:
        stored = self._checked(tensor)
        try:
            output: Samples = np.asarray(self._compiled([stored])[0])
        except RuntimeError as error:
            raise BadBundle(
                f"{self._name}: OpenVINO fails on an input of {tensor.shape}: {last_line(error)}. The file is wrong "
                "at this size; export again with a fixed --size."
            ) from error
        return output

    def layer_precisions(self) -> tuple[LayerPrecision, ...]:
        """What the runtime computes in which number format, in order of kind and format."""
        layers = Counter(
            (_text(info["layerType"]), _text(info["runtimePrecision"]))
            for info in (layer.get_rt_info() for layer in self._compiled.get_runtime_model().get_ops())
        )
        return tuple(LayerPrecision(kind, precision, count) for (kind, precision), count in sorted(layers.items()))


class OpenVinoWatcher(ManifestRunner, Watcher):
    """OpenVINO on the bundle's file with outputs more. Its integers are uint8, 128 higher.

    The tensors that `qdq.with_plain_rounding_before_sums` rounds by a Round have no integers and are not watched.
    """

    name = "OpenVINO"

    def __init__(self, bundle: Bundle, tensors: Sequence[Activation], *, threads: int = 0) -> None:
        super().__init__(bundle.manifest)
        model = core().read_model(str(bundle.model_path))
        given = {name: out for op in model.get_ops() for out in op.outputs() for name in out.get_names()}
        self._all = len(tensors)
        self._names = [t.name for t in tensors if t.name in given]
        if not self._names:
            raise BadBundle(f"{bundle.model_path} names none of the network's tensors. Export the bundle again.")
        check_same(
            bundle,
            [_fake_quantize(name, given[name], bundle) for name in self._names],
            [t for t in tensors if t.name in given],
        )
        for name in self._names:
            model.add_outputs(name)
        self._compiled = core().compile_model(model, "CPU", cpu_config(threads))

    def read(self, x: Float) -> Watched:
        values = self._compiled([self._checked(x)])
        tensors = {name: as_int8(np.asarray(values[i])) for i, name in enumerate(self._names, start=1)}
        return Watched(tensors, np.asarray(values[0]))

    def infer(self, tensor: Float) -> Samples:
        return self.read(tensor).output

    def remark(self, largest: float) -> str:
        hidden = self._all - len(self._names)
        told = f"OpenVINO: {same_or(largest)} when its tensors are watched"
        if not hidden:
            return told
        return (
            f"{told}; {hidden} of {self._all}, convolutions that are added to another tensor, it rounds as real "
            "numbers, and they are not watched"
        )


@lru_cache(maxsize=1)
def core() -> Any:
    """The one openvino.Core of this process, which lives as long as it does.

    OpenVINO 2026.4's CPU plugin gives the thread that loads it an alternate signal stack and frees that when the last
    network of its Core is gone. With a second Core the thread is left with a freed one, and the next Ctrl-C is a
    segmentation fault.
    """
    import openvino as ov

    return ov.Core()


def cpu_config(threads: int) -> dict[str, Any]:
    """How a network is compiled. threads: 0 leaves the choice to OpenVINO."""
    # Processors with AMX compute in bfloat16 unasked, which moves logits by 1.0 where float16 weights move them by
    # 0.1, and is no faster on networks this small. What is int8 stays int8.
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    return config


def _describe(network: Any, spec: ExportSpec) -> None:
    """Names that do not count what else was read in this process, the layout, and what stands in the manifest."""
    import openvino as ov

    for i, node in enumerate(network.get_ordered_ops()):
        if node.get_type_name() not in ("Parameter", "Result"):
            node.set_friendly_name(f"{node.get_type_name()}_{i}")
    network.set_friendly_name(spec.name)
    for node in (*network.get_parameters(), *network.get_results()):
        node.set_layout(ov.Layout("NCHW"))
    size = "x".join(map(str, spec.size)) if spec.size else f"any multiples of {spec.multiple_of}"
    notes = (
        *spec.notes, ("channels", "RGB" if spec.channels == 3 else "luma"), ("layout", TARGET.layout),
        ("output", spec.output), ("precision", spec.precision), ("size", size),
    )  # fmt: skip
    for key, text in sorted(notes):
        network.set_rt_info(text, [SECTION, key])


def _clean(xml: bytes, *, weights_sha256: str) -> bytes:
    """Without the runtime's build, with the hash of the weights, and without indentation (a sixth of the file)."""
    root = ElementTree.fromstring(xml)
    info = root.find("rt_info")
    section = None if info is None else info.find(SECTION)
    if info is None or section is None:
        raise BadBundle(f"OpenVINO wrote no rt_info with {SECTION}; this release of openvino cannot be used.")
    for item in list(info):
        if item.tag != SECTION:
            info.remove(item)
    ElementTree.SubElement(section, "weights_sha256", value=weights_sha256)
    for element in root.iter():
        element.tail = "\n" if element.tag == "layer" else None
        if element.text is not None and not element.text.strip():
            element.text = None
    data: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return data


def _fake_quantize(name: str, output: Any, bundle: Bundle) -> Activation:
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
    return Activation(name, scale, round(-low / scale) - 128)


def _text(value: Any) -> str:
    return str(getattr(value, "value", value))
