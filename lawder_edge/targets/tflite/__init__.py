"""TFLite, written from our own graph, run by LiteRT: phones, single-board computers, and microcontrollers' TFLM."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from lawder_edge.bundle.certificate import FP32_LIMITS, INT8_LIMITS
from lawder_edge.bundle.processing import Float, Samples
from lawder_edge.bundle.runner import ManifestRunner, Runner
from lawder_edge.bundle.store import Bundle
from lawder_edge.errors import BadBundle
from lawder_edge.files import write_file
from lawder_edge.targets import nhwc
from lawder_edge.targets.registry import Artifact, ExportSpec, Program, Target
from lawder_edge.targets.watch import Activation, Watched, Watcher, equal_or
from lawder_edge.versions import tool_of

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from lawder_edge.graph.ir import Array, Graph, Tensor

# fast: LiteRT's choice, XNNPACK. builtin: its own kernels. reference: those that TFLM and the numpy reference equal.
Kernels = Literal["fast", "builtin", "reference"]
_RESOLVERS: dict[Kernels, str] = {
    "fast": "AUTO", "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"
}  # fmt: skip

TARGET = Target(
    name="tflite",
    suffix=".tflite",
    precisions=("fp32", "int8"),
    layout="NHWC",
    extra="tflite",
    description="TFLite for LiteRT on phones and boards, and for microcontrollers",
    module=__name__,
    to_export=("torch", "flatbuffers", "ai_edge_litert"),
    to_run=("ai_edge_litert",),
    gates=(("fp32", FP32_LIMITS), ("int8", INT8_LIMITS)),
    forms=(("fp32", "graph"), ("int8", "graph")),
    rounding="half away from zero, after the product with a 31-bit multiplier and again after its shift",
    any_size=False,
    integer_edges=True,
    watches=True,
    refused=(("int8", "mask", "TFLite Micro casts no number to uint8, so that no microcontroller would run it"),),
)


def export(program: Program, spec: ExportSpec, out: Path) -> Artifact:
    """Write `program` as .tflite: input `image` (1, H, W, channels), and one output of the spec's kind's name, `logits`
    or `probabilities` (1, H, W, classes), or `mask` (1, H, W, 1) uint8.

    Both are float32, or int8 for precision int8, which wants a program with quantize and dequantize nodes, unless
    another input was asked for. The same program and spec give the same bytes.

    Raises BadInput for a spec without a size or with any batch, operators that a graph lacks, and programs that are not
    of the spec's precision.
    """
    from lawder_edge.targets.tflite.writer import write

    graph = nhwc.with_edges(nhwc.to_graph(program, spec), spec, TARGET.input_type(spec))
    data = write(graph, notes=spec.notes).data
    write_file(out, data)
    tools = tuple(tool_of(module) for module in ("ai_edge_litert", "flatbuffers", "torch"))
    return Artifact(out, hashlib.sha256(data).hexdigest(), len(data), tools)


def load(bundle: Bundle, *, threads: int = 0, kernels: Kernels = "fast") -> Runner:
    """Open the bundle's model in LiteRT on the CPU. threads: 0 leaves the choice to it. Raises BadBundle."""
    return TfliteRunner(bundle, threads=threads, kernels=kernels)


def watch(
    bundle: Bundle, program: Callable[[], ExportedProgram], tensors: Sequence[Activation], *, threads: int = 0
) -> tuple[Watcher, ...]:
    """As `Target.watch`: LiteRT's reference kernels, and the integer reference beside them."""
    from lawder_edge.targets.watched_graph import ReferenceWatcher, graph_of

    graph = graph_of(bundle, program)
    return (TfliteWatcher(bundle, graph, threads=threads), ReferenceWatcher(bundle, graph))


class TfliteRunner(ManifestRunner):
    """A bundle's .tflite in LiteRT. kernels: which of its implementations; `kernels` tells which one it became.

    keep_tensors: for `inner_tensors`, in more memory.
    """

    def __init__(
        self, bundle: Bundle, *, threads: int = 0, kernels: Kernels = "fast", keep_tensors: bool = False
    ) -> None:
        super().__init__(bundle.manifest)
        self.kernels: Kernels = kernels
        try:
            self._interpreter = _open(bundle.model_path, threads, kernels, keep_tensors=keep_tensors)
        except (RuntimeError, ValueError) as error:
            if kernels != "fast":
                raise _refused(bundle, error) from error
            # XNNPACK fails on scales that are legal: a convolution whose multiplier is 256 or more.
            try:
                self._interpreter = _open(bundle.model_path, threads, "builtin", keep_tensors=keep_tensors)
            except (RuntimeError, ValueError) as second:
                raise _refused(bundle, second) from second
            self.kernels = "builtin"
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]

    def infer(self, tensor: Float) -> Samples:
        """Integer inputs: to the nearest of their numbers, which for frames is exact (q = rgb XOR 0x80)."""
        y = self.infer_stored(np.ascontiguousarray(self._checked(tensor).transpose(0, 2, 3, 1)))
        if y.dtype == np.int8:
            scale, zero_point = self._output["quantization"]
            y = np.float32(scale) * (y.astype(np.float32) - np.float32(zero_point))
        return np.ascontiguousarray(y.transpose(0, 3, 1, 2))

    def infer_stored(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """As the file has them, in its own types: (1, H, W, C) -> (1, H, W, classes), or of a mask (1, H, W, 1)."""
        self._interpreter.set_tensor(self._input["index"], x)
        self._interpreter.invoke()
        output: npt.NDArray[Any] = self._interpreter.get_tensor(self._output["index"])
        return output

    def inner_tensors(self) -> dict[str, npt.NDArray[Any]]:
        """What the last call computed, by the file's names, as it is stored. Wants keep_tensors, and not XNNPACK."""
        details = self._interpreter.get_tensor_details()
        return {d["name"]: self._interpreter.get_tensor(d["index"]) for d in details if d["name"]}


class TfliteWatcher(Watcher):
    """The bundle's .tflite in LiteRT's reference kernels, which keep every tensor. graph: that it was written from."""

    name = "LiteRT reference"

    def __init__(self, bundle: Bundle, graph: Graph, *, threads: int = 0) -> None:
        self._runner = TfliteRunner(bundle, threads=threads, kernels="reference", keep_tensors=True)
        self._path = bundle.model_path
        self._tensors = [t for t in graph.tensors if t.origin is not None and t.data is None]

    def read(self, x: Float) -> Watched:
        from lawder_edge.targets.watched_graph import as_in_program

        output = self._runner.infer(x)
        values = self._runner.inner_tensors()
        return Watched(dict(as_in_program(t, self._value(t, values)) for t in self._tensors), output)

    def remark(self, largest: float) -> str:
        return (
            "LiteRT: its reference kernels are watched; XNNPACK, which it runs by itself, does not give its inner "
            f"tensors, and its output is {equal_or(largest)} the reference kernels'"
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


def _open(path: Path, threads: int, kernels: Kernels, *, keep_tensors: bool) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=str(path),
        num_threads=threads or None,
        experimental_op_resolver_type=getattr(OpResolverType, _RESOLVERS[kernels]),
        experimental_preserve_all_tensors=keep_tensors,
    )
    interpreter.allocate_tensors()
    return interpreter


def _refused(bundle: Bundle, error: Exception) -> BadBundle:
    version = tool_of("ai_edge_litert").version
    return BadBundle(
        f"{bundle.model_path}: LiteRT {version} refuses it ({str(error)[:300]}). Update ai-edge-litert, or export the "
        "bundle again."
    )
