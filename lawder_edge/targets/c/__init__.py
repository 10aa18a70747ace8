"""C99 for microcontrollers and anything else with a C compiler: the network as constants and calls, and its kernels."""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lawder_edge import __version__
from lawder_edge.bundle.certificate import EXACT_LIMITS
from lawder_edge.bundle.runner import Runner
from lawder_edge.bundle.store import Bundle
from lawder_edge.errors import BadBundle, BadInput, Unavailable
from lawder_edge.files import write_file
from lawder_edge.targets.registry import Artifact, Drawing, ExportSpec, Program, Target
from lawder_edge.versions import Tool, tool_of

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from lawder_edge.targets.watch import Activation, Watcher

TARGET = Target(
    name="c",
    suffix=".c",
    precisions=("int8",),
    layout="NHWC",
    extra="train",
    description="C99 for microcontrollers, bit for bit as TFLite Micro computes; runs here with a C compiler",
    module=__name__,
    to_export=("torch",),
    to_run=(),
    gates=(("int8", EXACT_LIMITS),),
    forms=(("int8", "graph"),),
    rounding="half away from zero, after the product with a 31-bit multiplier and again after its shift",
    any_size=False,
    reads=("ram",),
    outputs=("logits",),
    inputs=("float32",),
    exact=True,
    programs=("cc", "gcc", "clang"),
    programs_install="apt-get install gcc libc6-dev",
    drawing=Drawing("ram", "RAM over time"),
    watches=True,
)


def export(program: Program, spec: ExportSpec, out: Path) -> Artifact:
    """Write the network as NAME.c beside `out`, NAME being the part of the spec's name before its first dash.

    With it NAME.h, whose sha256 is that of NAME.c; network.h; the kernels; memory.csv, what of the arena is in use
    at each operator; and example.picture.pnm, a phantom frame, with example.mask.pgm, what the integer reference makes
    of it. The picture is the caller's, a byte a sample; the same program and spec give the same bytes. The plan is the
    one of the least work that fits the spec's RAM; without one, of the smallest arena.

    Raises BadInput for anything but an int8 program of one size, and for what the kernels cannot do; OverBudget where
    the network needs more than the spec's RAM.
    """
    from lawder_edge.targets.c.budget import check_ram
    from lawder_edge.targets.c.example import picture_and_mask
    from lawder_edge.targets.c.memory import FILE
    from lawder_edge.targets.c.network import write
    from lawder_edge.targets.nhwc import to_graph

    graph = to_graph(program, spec)
    source = write(
        graph, name=spec.name.split("-")[0], version=__version__, threshold=spec.threshold, ram_bytes=spec.ram_bytes
    )
    fits = (check_ram(source.need, spec.ram_bytes),) if spec.ram_bytes is not None else ()
    kernels = {f.name: f.read_bytes() for f in (importlib.resources.files(__name__) / "kernels").iterdir()}
    own = {name: text.encode() for name, text in source.files}
    if len(own) < len(source.files) or own.keys() & {*kernels, "main.c"}:
        raise BadInput(f"the network is called {source.name!r}, as a file of every bundle is. Call it otherwise.")
    drawn = picture_and_mask(graph, spec.threshold)
    example = dict(zip(("example.picture.pnm", "example.mask.pgm"), drawn, strict=True))
    example[FILE] = source.memory.encode()
    for name, data in sorted((own | kernels | example).items()):
        write_file(out.with_name(name), data)
    model = source.files[0][0]
    return Artifact(
        out.with_name(model),
        hashlib.sha256(own[model]).hexdigest(),
        len(own[model]),
        (Tool("lawder-edge", __version__), tool_of("torch")),
        remarks=(
            f"arena {source.plan.arena_bytes} bytes (no placement of these tensors needs less than "
            f"{source.plan.bound_bytes}), row by row {source.rows.arena_bytes}, picture and mask {source.frame_bytes}, "
            f"constants {source.constants_bytes} bytes",
            *fits,
        ),
    )


def load(bundle: Bundle, *, threads: int = 0) -> Runner:
    """Compile the bundle's C for this machine and call it. threads: says nothing here, it computes on one.

    Raises Unavailable where there is no C compiler, BadBundle for files that do not compile or do not belong together.
    """
    from lawder_edge.runners.c.host import Network, NetworkError, NoCompilerError
    from lawder_edge.targets.c.runner import CRunner

    try:
        network = Network(bundle.model_path)
    except NoCompilerError as error:
        raise Unavailable(f"the C target runs on this machine through its compiler: {error}") from error
    except NetworkError as error:
        raise BadBundle(
            f"{bundle.model_path}: {error}. Export the bundle again, or name another compiler in CC."
        ) from error
    if network.sha256 != bundle.manifest.model_entry.sha256:
        raise BadBundle(
            f"{bundle.model_path}: its header is of a file with sha256 {network.sha256}, the manifest's has "
            f"{bundle.manifest.model_entry.sha256}. Export the bundle again."
        )
    return CRunner(bundle.manifest, network)


def watch(
    bundle: Bundle, program: Callable[[], ExportedProgram], tensors: Sequence[Activation], *, threads: int = 0
) -> tuple[Watcher, ...]:
    """As `Target.watch`: the integer reference, which the C equals."""
    from lawder_edge.targets.watched_graph import ReferenceWatcher, graph_of

    return (ReferenceWatcher(bundle, graph_of(bundle, program)),)


def draw(bundle: Bundle) -> bytes:
    """RAM over time: what of the arena is in use at each operator. Returns: a PNG."""
    from lawder_edge.targets.c.memory import FILE, draw_memory

    return draw_memory((bundle.path / FILE).read_text(), title=f"{bundle.path.name}: RAM over time")
