"""The targets by name. Adding one is adding a file that defines `TARGET`, `export` and `load`, and its name below."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Literal, TypeAlias, Union

from lawder_edge.bundle.manifest import InputType, Manifest, OutputKind, OutputType
from lawder_edge.errors import BadInput, Unavailable
from lawder_edge.targets.engine import EngineOptions
from lawder_edge.targets.words import option_of
from lawder_edge.threads import check_threads
from lawder_edge.versions import Tool

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

    from lawder_edge.bundle.certificate import Limits
    from lawder_edge.bundle.runner import Runner
    from lawder_edge.bundle.store import Bundle
    from lawder_edge.graph.ir import Graph
    from lawder_edge.targets.watch import Activation, Watcher

_MODULES = ("onnx", "openvino", "tensorrt", "tflite", "c")

# Options of an export that not every target reads: see `reads`.
Option = Literal["opset", "engine", "ram"]
# What a file is written from: see `forms`.
Form = Literal["onnx", "graph"]


@dataclass(frozen=True)
class OnnxForm:
    """A network as PyTorch's exporter wrote it in ONNX, before any target's touch. data: a serialised ModelProto."""

    data: bytes


Network: TypeAlias = Union["nn.Module", "ExportedProgram"]
Program: TypeAlias = Union[Network, OnnxForm, "Graph"]


@dataclass(frozen=True)
class ExportSpec:
    """What an export shall be like.

    name: of the network, written into formats that hold one. size: (height, width) in pixels, or None for a file that
    takes any multiples of `multiple_of`. dynamic_batch: any batch size rather than 1. opset: of the ONNX family, None
    for the target's default. notes: key and value pairs for formats that carry metadata, the same from every machine.
    engine: read by the target `tensorrt` alone. output: what the file gives; masks are cut at `threshold`. input_type:
    of the file, None for the target's own: `Target.input_type` tells. ram_bytes: that the device has for arena, picture
    and mask, None for any; read by the target `c` alone.

    Raises BadInput for a size that is no positive multiple of `multiple_of`, naming the nearest that are.
    """

    name: str = "model"
    size: tuple[int, int] | None = None
    dynamic_batch: bool = False
    precision: str = "fp32"
    opset: int | None = None
    channels: int = 3
    classes: int = 1
    multiple_of: int = 32
    notes: tuple[tuple[str, str], ...] = ()
    engine: EngineOptions = field(default_factory=EngineOptions)
    output: OutputKind = "logits"
    input_type: InputType | None = None
    threshold: float = 0.5
    ram_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.size is not None:
            check_size(self.size, self.multiple_of)


@dataclass(frozen=True)
class Artifact:
    """A model file as a target wrote it.

    size_bytes: with what is part of it. tools: what took part. remarks: a sentence each on what users should know.
    """

    path: Path
    sha256: str
    size_bytes: int
    tools: tuple[Tool, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drawing:
    """A picture of a bundle. name: in its file's name, short. shows: what it is of, for people."""

    name: str
    shows: str


@dataclass(frozen=True)
class Target:
    """One target. `module` holds its functions and is imported only when one of them is called.

    suffix: of the model file. precisions: what it can be exported in, the usual one first. layout: of the input.
    extra: what to install, `lawder-edge[extra]`. to_export, to_run: packages that each needs. gates: the limits of its
    certificate, by precision. forms: what its files are written from, by precision, where that is not the network
    itself. rounding: of int8 values between two operators. activations: of int8 files, how they are held.
    checks_what_it_runs: `load` itself tells what is missing, because that depends on the bundle. runs_by_name:
    packages that files need whose names end so, where those are not `to_run`. beside: suffixes of files that are part
    of the model file. any_size: whether one file can take several input sizes. reads: the options of an export that it
    knows besides those of every target. outputs, inputs: what its files can give and take, at every precision but for
    `refused`: (precision, one of them, why not). integer_edges: its int8 files are int8 from input to output, where
    nothing else is asked for. programs: one of which has to be here to run it, and how to install the first. exact:
    computes the integer reference, and is certified by it bit for bit. drawing: of bundles, which the module's
    function `draw` makes, if any. watches: whether the module's function `watch` gives the inner tensors of int8
    bundles. stores_only: precisions that weights are stored in, while float32 is computed in.
    """

    name: str
    suffix: str
    precisions: tuple[str, ...]
    layout: Literal["NCHW", "NHWC"]
    extra: str
    description: str
    module: str
    to_export: tuple[str, ...]
    to_run: tuple[str, ...]
    gates: tuple[tuple[str, Limits], ...]
    forms: tuple[tuple[str, Form], ...] = ()
    rounding: str = "half to even, in float32"
    activations: str = "int8, asymmetric, one scale a tensor"
    checks_what_it_runs: bool = False
    runs_by_name: tuple[tuple[str, tuple[str, ...]], ...] = ()
    beside: tuple[str, ...] = ()
    any_size: bool = True
    reads: tuple[Option, ...] = ()
    outputs: tuple[OutputKind, ...] = ("logits", "probabilities", "mask")
    inputs: tuple[InputType, ...] = ("float32", "uint8", "int8")
    refused: tuple[tuple[str, OutputKind | InputType, str], ...] = ()
    integer_edges: bool = False
    programs: tuple[str, ...] = ()
    programs_install: str = ""
    exact: bool = False
    drawing: Drawing | None = None
    watches: bool = False
    stores_only: tuple[str, ...] = ()

    @property
    def usual_precision(self) -> str:
        """What is exported where nothing else is asked for."""
        return self.precisions[0]

    def limits(self, precision: str) -> Limits:
        """What an artifact of `precision` must keep to. Raises BadInput for a precision that the target lacks."""
        self._check_precision(precision)
        return dict(self.gates)[precision]

    def form(self, precision: str) -> Form | None:
        """What a file of that precision is written from and other targets' too; None for the network itself."""
        return dict(self.forms).get(precision)

    def scalar_bytes(self, precision: str) -> int:
        """Of an activation while a file of that precision is computed."""
        return 4 if precision in self.stores_only else {"fp32": 4, "fp16": 2, "int8": 1}[precision]

    def missing(self, packages: tuple[str, ...]) -> tuple[str, ...]:
        """Those of `packages` that are not installed here. Imports none of them."""
        return tuple(p for p in packages if importlib.util.find_spec(p) is None)

    def lacks_program(self) -> bool:
        """Whether none of `programs` is here although one is needed."""
        return bool(self.programs) and not any(shutil.which(name) for name in self.programs)

    def export(self, program: Program, spec: ExportSpec, out: Path) -> Artifact:
        """Write the model file `out`. program: a module in eval mode, an ExportedProgram, or what `form` names.

        Raises Unavailable for a missing package; BadInput for a precision, opset, input, output or network that it
        cannot take.
        """
        self.check(spec)
        artifact: Artifact = self._load_module(self.to_export).export(program, spec, out)
        return artifact

    def load(self, bundle: Bundle, *, threads: int = 0) -> Runner:
        """Load a bundle of this target. threads: 0 leaves the runtime's default.

        Raises Unavailable for a missing package; BadBundle for a model file that the runtime refuses; BadInput for
        threads below 0.
        """
        check_threads(threads)
        needed = () if self.checks_what_it_runs else self.to_run
        runner: Runner = self._load_module(needed).load(bundle, threads=threads)
        return runner

    def drawing_of(self, bundle: Path) -> Path | None:
        """Where the drawing of the bundle in that folder belongs, beside it; None where there is none."""
        return bundle.with_name(f"{bundle.name}.{self.drawing.name}.png") if self.drawing else None

    def draw(self, bundle: Bundle) -> bytes:
        """The drawing of a bundle as a PNG, of targets that have one."""
        picture: bytes = self._load_module(()).draw(bundle)
        return picture

    def watch(
        self,
        bundle: Bundle,
        program: Callable[[], ExportedProgram],
        tensors: Sequence[Activation],
        *,
        threads: int = 0,
    ) -> tuple[Watcher, ...]:
        """All that can be watched of an int8 bundle. program: gives the one that it was exported from, at its size.
        tensors: of that program, in the order of computation. threads: as of `load`.

        Raises BadInput for a target that hides its tensors; BadBundle where the file has others than the program.
        """
        if not self.watches:
            others = ", ".join(name for name, record in targets().items() if record.watches)
            raise BadInput(
                f"{bundle.path}: {self.name} does not give its inner tensors. Export the same checkpoint for one of "
                f"{others}, and look at the layers of that."
            )
        found: tuple[Watcher, ...] = self._load_module(()).watch(bundle, program, tensors, threads=threads)
        return found

    def runtime_of(self, model_file: str) -> tuple[str, ...]:
        """The packages that run a model file of that name."""
        return next((packages for end, packages in self.runs_by_name if model_file.endswith(end)), self.to_run)

    def size_bytes(self, manifest: Manifest) -> int:
        """Of the model file with what is part of it."""
        stem = manifest.model_file.removesuffix(self.suffix)
        names = {manifest.model_file, *(stem + suffix for suffix in self.beside)}
        return sum(file.size_bytes for file in manifest.files if file.name in names)

    def sides(self, spec: ExportSpec) -> tuple[int, int] | None:
        """The least and the largest side in pixels that a file of that spec takes, None for any multiples."""
        return (spec.engine.profile[0], spec.engine.profile[2]) if "engine" in self.reads and not spec.size else None

    def input_type(self, spec: ExportSpec) -> InputType:
        """What a file of that spec takes."""
        return spec.input_type or ("int8" if self._is_integer(spec) else "float32")

    def output_type(self, spec: ExportSpec) -> OutputType:
        """What a file of that spec gives: float32 where it is not a mask, or integer from input to output."""
        if spec.output == "mask":
            return "uint8"
        return "int8" if self._is_integer(spec) and self.input_type(spec) != "float32" else "float32"

    def _is_integer(self, spec: ExportSpec) -> bool:
        return self.integer_edges and spec.precision == "int8"

    def can(self, precision: str) -> tuple[tuple[OutputKind, ...], tuple[InputType, ...]]:
        """What files of a precision can give and take."""
        not_these = {what for at, what, _ in self.refused if at == precision}
        return (
            tuple(kind for kind in self.outputs if kind not in not_these),
            tuple(kind for kind in self.inputs if kind not in not_these),
        )

    def check(self, spec: ExportSpec) -> None:
        """Raises BadInput for a precision, input or output that the target lacks, with those it has, and for options
        that it does not read.
        """
        self._check_precision(spec.precision)
        unread = ["--opset"] if spec.opset is not None and "opset" not in self.reads else []
        unread += ["--ram"] if spec.ram_bytes is not None and "ram" not in self.reads else []
        if "engine" not in self.reads:
            unread += [word for word in spec.engine.arguments() if word.startswith("--")]
        if unread:
            raise BadInput(f"target {self.name!r} does not read {', '.join(unread)}. Leave that out.")
        outputs, inputs = self.can(spec.precision)
        choices: tuple[tuple[OutputKind | InputType, tuple[OutputKind | InputType, ...]], ...] = (
            (spec.output, outputs), (self.input_type(spec), inputs)
        )  # fmt: skip
        for asked, known in choices:
            if asked not in known:
                why = [f": {text}" for at, what, text in self.refused if (at, what) == (spec.precision, asked)]
                raise BadInput(
                    f"target {self.name!r} at {spec.precision} has no {option_of(asked)}{''.join(why)}. It has: "
                    f"{', '.join(map(option_of, known))}."
                )

    def _check_precision(self, precision: str) -> None:
        if precision not in self.precisions:
            raise BadInput(
                f"target {self.name!r} has no precision {precision!r}; it has: {', '.join(self.precisions)}."
            )

    def require(self, packages: tuple[str, ...]) -> None:
        """Raises Unavailable, with the pip command, where one of `packages` is not installed here."""
        missing = self.missing(packages)
        if missing:
            raise Unavailable(
                f"target {self.name!r} needs {', '.join(missing)}, not installed here. Install with: "
                f"pip install 'lawder-edge[{self.extra}]'"
            )

    def _load_module(self, packages: tuple[str, ...]) -> ModuleType:
        self.require(packages)
        return importlib.import_module(self.module)


@lru_cache(maxsize=1)
def targets() -> Mapping[str, Target]:
    """All targets by name. Imports no runtime and no exporter."""
    records = (importlib.import_module(f"lawder_edge.targets.{name}").TARGET for name in _MODULES)
    return MappingProxyType({record.name: record for record in records})


def get_target(name: str) -> Target:
    """Raises BadInput for an unknown name, with the closest known one."""
    known = targets()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise BadInput(f"unknown target {name!r}.{hint} Known: {', '.join(known)}.")
    return known[name]


def load_runner(bundle: Bundle, *, threads: int = 0) -> Runner:
    """The runner for an opened bundle. threads: 0 leaves the runtime's default.

    Raises BadInput for a target that this version does not know, Unavailable for a runtime that is not installed.
    """
    return get_target(bundle.manifest.target).load(bundle, threads=threads)


def not_quantised() -> BadInput:
    """For int8 of float weights."""
    return BadInput(
        "these weights are not quantised, so there is no int8 to export. Fine-tune them with rounding in place "
        "(lawder-edge qat --model CHECKPOINT --data DIR --out RUN), or only learn ranges (lawder-edge quantize), and "
        "export what that writes."
    )


def check_size(size: tuple[int, int], multiple_of: int) -> None:
    """Raises BadInput where a side is no positive multiple of `multiple_of`, naming the nearest sizes that are."""
    if all(side > 0 and side % multiple_of == 0 for side in size):
        return
    below, above = (
        [max(multiple_of, side // multiple_of * multiple_of + step) for side in size] for step in (0, multiple_of)
    )
    up = [b if side == b else a for side, b, a in zip(size, below, above, strict=True)]
    nearest = " or ".join(dict.fromkeys(f"{h}x{w}" for h, w in (below, up)))
    raise BadInput(
        f"size {size[0]}x{size[1]} cannot be exported: the network halves its input down to 1/{multiple_of}, so both "
        f"sides must be multiples of {multiple_of}. Nearest: {nearest}. (predict takes frames of any size.)"
    )
