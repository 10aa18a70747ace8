"""ONNX by PyTorch's own exporter, run by onnxruntime: one file, no external data, no traces of the machine."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawder_edge.bundle.certificate import FP32_LIMITS, INT8_LIMITS
from lawder_edge.bundle.processing import Float, Samples
from lawder_edge.bundle.runner import ManifestRunner, Runner
from lawder_edge.bundle.store import Bundle
from lawder_edge.errors import BadBundle, BadInput, Unavailable, first_line
from lawder_edge.files import write_file
from lawder_edge.targets import qdq
from lawder_edge.targets.program import quiet, to_program
from lawder_edge.targets.registry import Artifact, ExportSpec, OnnxForm, Program, Target
from lawder_edge.targets.watch import Activation, Watched, Watcher, as_int8, check_same, same_or
from lawder_edge.versions import tool_of

if TYPE_CHECKING:
    from torch.export import ExportedProgram

INPUT = "image"
# 20 is what onnxruntime 1.17, OpenVINO 2024 and TensorRT 10 all read; 18 is the oldest that the exporter writes.
DEFAULT_OPSET = 20
OPSETS = range(18, 24)
# Fewer channels than the narrowest block.
NARROW = 7

TARGET = Target(
    name="onnx",
    suffix=".onnx",
    precisions=("fp32", "int8"),
    layout="NCHW",
    extra="onnx",
    description="ONNX for onnxruntime, OpenVINO and TensorRT",
    module=__name__,
    to_export=("torch", "onnx", "onnxscript"),
    to_run=("onnxruntime",),
    gates=(("fp32", FP32_LIMITS), ("int8", INT8_LIMITS)),
    # In float it fills lanes, which no other runtime is given.
    forms=(("int8", "onnx"),),
    reads=("opset",),
    watches=True,
    activations="uint8, asymmetric, one scale a tensor",
)


def export(program: Program, spec: ExportSpec, out: Path) -> Artifact:
    """Write `program` as ONNX: see `to_proto`. The same program, spec and tool versions give the same bytes.

    Float modules are written with their lanes filled, and narrow tensors are resized as they are: onnxruntime turns
    what it resizes by `half_pixel` into blocks of 8 or 16 channels, and by its equal `pytorch_half_pixel` does not.

    Activations of int8 are written as uint8: on x86 processors without VNNI onnxruntime's products of two int8 tensors
    saturate (attention that saw it had 4 % of its mask wrong), those of uint8 do not; and it computes all 36
    convolutions of ORDER in integers, of int8 ones 19.
    """
    import onnx
    import torch

    from lawder_edge.models.lanes import fill_lanes

    if spec.precision != "int8" and isinstance(program, torch.nn.Module):
        program = fill_lanes(program)
    proto = to_proto(program, spec, narrow_resize=b"pytorch_half_pixel")
    if spec.precision == "int8":
        proto = qdq.to_uint8(proto)
    data: bytes = proto.SerializeToString(deterministic=True)
    onnx.checker.check_model(data, full_check=True)
    write_file(out, data)
    tools = tuple(tool_of(module) for module in ("onnx", "onnxscript", "torch"))
    return Artifact(out, hashlib.sha256(data).hexdigest(), len(data), tools)


def to_proto(program: Program, spec: ExportSpec, *, narrow_resize: bytes = b"") -> Any:
    """`program` as onnx.ModelProto: input `image` (N, channels, H, W) of the spec's type, and one output of the spec's
    kind's name: `logits` or `probabilities` (N, classes, H, W) float32, or `mask` (N, 1, H, W) uint8.

    narrow_resize: the coordinate rule of float tensors of few channels in place of half_pixel, which it has to equal.

    Holds nothing of the machine. Raises BadInput as `to_form`.
    """
    import onnx

    form = program if isinstance(program, OnnxForm) else to_form(program, spec)
    proto = onnx.load_from_string(form.data)
    if narrow_resize and spec.precision != "int8":
        _rule_narrow_resizes(proto, narrow_resize)
    _clean(proto, spec)
    return proto


def to_form(program: Program, spec: ExportSpec) -> OnnxForm:
    """`program` as the exporter writes it.

    Raises BadInput for an opset that the exporter does not write, a network that does not follow the spec, or one tied
    to its size where a dynamic one was asked for.
    """
    opset = DEFAULT_OPSET if spec.opset is None else spec.opset
    if opset not in OPSETS:
        raise BadInput(
            f"opset {opset} cannot be written; wanted {OPSETS[0]} to {OPSETS[-1]} (default {DEFAULT_OPSET})."
        )
    proto = _to_onnx(program, spec, opset)
    _check_interface(proto, spec)
    return OnnxForm(proto.SerializeToString(deterministic=True))


def load(bundle: Bundle, *, threads: int = 0) -> Runner:
    """Open the bundle's model in onnxruntime on the CPU. threads: 0 for one a core. Raises BadBundle."""
    return OnnxRunner(bundle, threads=threads)


def watch(
    bundle: Bundle, program: Callable[[], ExportedProgram], tensors: Sequence[Activation], *, threads: int = 0
) -> tuple[Watcher, ...]:
    """As `Target.watch`: onnxruntime on the bundle's file."""
    return (OnnxWatcher(bundle, tensors, threads=threads),)


class OnnxRunner(ManifestRunner):
    """A bundle's ONNX file in onnxruntime on the CPU."""

    def __init__(self, bundle: Bundle, *, threads: int = 0) -> None:
        import onnxruntime

        super().__init__(bundle.manifest)
        try:
            self._session = open_session(str(bundle.model_path), threads=threads)
        except Exception as error:  # onnxruntime's error classes share no other base
            raise BadBundle(
                f"{bundle.model_path}: onnxruntime {onnxruntime.__version__} refuses it ({error}). Update "
                "onnxruntime, or export with a lower --opset."
            ) from error

    def infer(self, tensor: Float) -> Samples:
        stored = self._checked(tensor)
        try:
            output: Samples = self._session.run([self.kind], {INPUT: stored})[0]
        except Exception as error:  # onnxruntime's error classes share no other base
            raise BadBundle(
                f"{self._name}: onnxruntime fails on an input of {tensor.shape}: {first_line(error)}. The file is "
                "wrong at this size; export again with a fixed --size."
            ) from error
        return output


class OnnxWatcher(ManifestRunner, Watcher):
    """onnxruntime on the bundle's file with the integers of every quantised tensor as outputs more.

    They are what its fused operators give, so that fusion stays but for corners: ORDER's logits move by one step on
    some images and by none on others, which the remark tells.
    """

    name = "onnxruntime"

    def __init__(self, bundle: Bundle, tensors: Sequence[Activation], *, threads: int = 0) -> None:
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
        check_same(bundle, found, tensors)
        watched = copy.deepcopy(proto)
        for name, kind in qdq.integer_types(proto).items():
            kind_of = onnx.helper.np_dtype_to_tensor_dtype(kind)
            watched.graph.output.append(onnx.helper.make_tensor_value_info(name, kind_of, None))
        self._names = {mine.name: theirs.name for mine, theirs in zip(tensors, found, strict=True)}
        self._session = open_session(watched.SerializeToString(), threads=threads)
        self._input = proto.graph.input[0].name

    def read(self, x: Float) -> Watched:
        names = [self.kind, *self._names.values()]
        output, *values = self._session.run(names, {self._input: self._checked(x)})
        return Watched({name: as_int8(x) for name, x in zip(self._names, values, strict=True)}, output)

    def infer(self, tensor: Float) -> Samples:
        return self.read(tensor).output

    def remark(self, largest: float) -> str:
        return f"onnxruntime: {same_or(largest)} when its tensors are watched"


def open_session(model: str | bytes, *, threads: int) -> Any:
    """onnxruntime on the CPU. model: path of a file, or what stands in it. Raises what onnxruntime raises."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _to_onnx(program: Program, spec: ExportSpec, opset: int) -> Any:
    """The exporter's ModelProto."""
    import torch

    from lawder_edge.targets.edges import with_edges

    if isinstance(program, torch.nn.Module):
        program = to_program(program, spec)
    if not isinstance(program, torch.export.ExportedProgram):
        raise TypeError(f"ONNX is written from a network, not from {type(program).__name__}")
    program = with_edges(program, spec)
    with quiet() as said:
        try:
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                input_names=[INPUT],
                output_names=[spec.output],
                external_data=False,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise BadInput(f"the network cannot be written as ONNX: {first_line(error)}") from error
    if exported is None:
        raise BadInput(f"the network cannot be written as ONNX: {said.getvalue().strip()[-200:]}")
    return exported.model_proto


def _check_interface(proto: Any, spec: ExportSpec) -> None:
    """Raises BadInput where the graph's inputs and outputs are not those that the spec asks for."""
    if len(proto.graph.input) != 1 or len(proto.graph.output) != 1:
        raise BadInput(
            f"the network has {len(proto.graph.input)} inputs and {len(proto.graph.output)} outputs; wanted one of "
            "each."
        )
    given, got = (list(v.type.tensor_type.shape.dim) for v in (proto.graph.input[0], proto.graph.output[0]))
    channels = 1 if spec.output == "mask" else spec.classes
    if len(given) != 4 or len(got) != 4 or got[1].dim_value != channels:
        shapes = [[d.dim_param or d.dim_value for d in dims] for dims in (given, got)]
        raise BadInput(
            f"the network maps {shapes[0]} to {shapes[1]}; wanted (batch, {spec.channels}, height, width) to (batch, "
            f"{channels}, height, width)."
        )
    free = (("batch", 0, spec.dynamic_batch), ("height", 2, spec.size is None), ("width", 3, spec.size is None))
    tied = [name for name, i, is_free in free if is_free and not (given[i].dim_param and got[i].dim_param)]
    if tied:
        raise BadInput(
            f"the network's graph is tied to one {' and '.join(tied)}: it computes with its input's size as a "
            "constant. Export with a fixed --size, or take the constant out of its forward."
        )


def _rule_narrow_resizes(proto: Any, rule: bytes) -> None:
    """Let Resize by half_pixel of up to NARROW channels go by `rule`."""
    channels = {}
    for value in proto.graph.value_info:
        dims = value.type.tensor_type.shape.dim
        channels[value.name] = dims[1].dim_value if len(dims) == 4 else 0
    for node in proto.graph.node:
        if node.op_type == "Resize" and 0 < channels.get(node.input[0], 0) <= NARROW:
            for attribute in node.attribute:
                if attribute.name == "coordinate_transformation_mode" and attribute.s == b"half_pixel":
                    attribute.s = rule


def _clean(proto: Any, spec: ExportSpec) -> None:
    """Leave what a runtime needs: no source lines, no inner tensors' shapes, no tool versions, plain names of axes; and
    the oldest form of file (IR version) that the opset allows, since runtimes refuse those newer than themselves.
    """
    import onnx

    _strip(proto)
    proto.ir_version = onnx.helper.find_min_ir_version_for(list(proto.opset_import))
    graph = proto.graph
    proto.producer_name, proto.producer_version = "lawder-edge", ""
    graph.name = spec.name
    fixed = spec.size or (0, 0)
    axes = (("batch", 0 if spec.dynamic_batch else 1), (None, 0), ("height", fixed[0]), ("width", fixed[1]))
    for value in (graph.input[0], graph.output[0]):
        for dim, (name, length) in zip(value.type.tensor_type.shape.dim, axes, strict=True):
            if name and length:
                dim.dim_value = length
            elif name:
                dim.dim_param = name
    for key, text in sorted(spec.notes):
        proto.metadata_props.add(key=key, value=text)


def _strip(message: Any) -> None:
    """Clear the fields that hold the exporter's notes, in the message and all below it, subgraphs too."""
    for name in ("metadata_props", "doc_string", "value_info"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if hasattr(value, "DESCRIPTOR") else value:
                _strip(inner)
