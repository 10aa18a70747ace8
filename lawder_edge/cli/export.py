"""`lawder-edge export`"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from lawder_edge.exporting.outcome import ExportOutcome
    from lawder_edge.exporting.request import ExportRequest, ExportTask


def export(
    target: Annotated[str, tyro.conf.arg(aliases=["-t"])],
    out: Path,
    model: Annotated[str, tyro.conf.arg(aliases=["-m"])] = "order",
    size: tuple[int, int] | None = None,
    dynamic_batch: bool = False,
    precision: str | None = None,
    output: Literal["logits", "prob", "mask"] = "logits",
    io: Literal["float", "uint8", "int8"] | None = None,
    opset: int | None = None,
    threshold: float | None = None,
    data: Path | None = None,
    split: tuple[Path, ...] = (),
    limit: int = 200,
    skip_bad: bool = False,
    card: Path | None = None,
    report: bool = False,
    overwrite: bool = False,
    flavor: Literal["rtx", "classic"] = "rtx",
    compute: tuple[str, ...] = (),
    profile: tuple[int, int, int] = (32, 256, 512),
    workspace_mib: int = 0,
    timing_cache: Path | None = None,
    dla_core: int | None = None,
    hardware_compatible: bool = False,
    ram: str | None = None,
    name: str | None = None,
    format: Literal["table", "json"] = "table",
) -> int:
    """Export a trained model, verify it against PyTorch, and hand out a bundle that runs on the device.

    Example: lawder-edge export --model order --target onnx --out order-onnx --data polyps --split test.txt

    Exit code 3 if the artifact gives other masks than PyTorch: it is then left as OUT.rejected; 5 over --ram. In JSON
    of all targets those that cannot give what is asked for stand last, their status left-out.

    Args:
        target: a name of `lawder-edge targets`, or all: a bundle in OUT/TARGET of each that can give what is asked for.
        out: bundle folder to make.
        model: model name or checkpoint (.safetensors).
        size: height and width, multiples of 32, for a file of one size; any multiples of 32 when left out.
        dynamic_batch: any batch size rather than 1.
        precision: of the arithmetic; `lawder-edge targets` lists them, the usual one first. With --target all fp32 when
            left out, or all, for fp32 and int8; int8 bundles then stand in OUT/TARGET-int8.
        output: of the file: logits; prob, their sigmoid or softmax; mask, uint8 class numbers cut at the threshold.
        io: type of the file's input: float for (rgb - 128) / 128, uint8 for rgb as it is, int8 for rgb XOR 0x80; float
            when left out, int8 for tflite at int8.
        opset: of ONNX; the target's default when left out.
        threshold: probability from which a pixel is foreground; the one stored with the weights when left out.
        data: folder of images with masks to verify on; phantom frames when left out.
        split: files with one folder/stem a line, of the images to verify on.
        limit: the most images to verify on, evenly picked; 0 for all.
        skip_bad: leave out images that cannot be read, and count them.
        card: model card to put into the bundle; that of the bundled weights when left out.
        report: also measure latency and memory, and draw the masks of a few frames into OUT.png and, of c, what of the
            arena is in use at each operator into BUNDLE.ram.png.
        overwrite: replace bundles that exist.
        flavor: of tensorrt: rtx is built without a GPU, classic on the GPU that it is for.
        compute: of tensorrt rtx: compute capabilities to build for, such as 8.9; TensorRT's choice when left out.
        profile: of tensorrt without --size: smallest, usual and largest side in pixels.
        workspace_mib: of tensorrt: the most scratch memory; 0 for no limit.
        timing_cache: of tensorrt classic: file of timings to use and to extend.
        dla_core: of tensorrt classic on a Jetson: the DLA to run on.
        hardware_compatible: of tensorrt classic: for every GPU from Ampere on.
        ram: of c: what the device has for arena, picture and mask, such as 256K: the plan of the least work that fits,
            or exit code 5 with the smallest that works; the smallest arena when left out.
        name: of the network in the files, such as order_64: in C that of its functions, so that two link together;
            the model's when left out.
        format: of the result on stdout.
    """
    from lawder_edge.errors import BadInput
    from lawder_edge.exporting import isolated
    from lawder_edge.exporting.outcome import export_verified
    from lawder_edge.exporting.report import check_pictures
    from lawder_edge.exporting.request import ExportRequest
    from lawder_edge.exporting.tasks import tasks_of
    from lawder_edge.targets.c.budget import bytes_of
    from lawder_edge.targets.engine import EngineOptions
    from lawder_edge.targets.registry import get_target

    if precision is None:
        precision = "fp32" if target == "all" else get_target(target).usual_precision
    request = ExportRequest(
        model=model, size=size, dynamic_batch=dynamic_batch, precision=precision, opset=opset, threshold=threshold,
        data=data, split=split, limit=limit, skip_bad=skip_bad, card=card, overwrite=overwrite,
        engine=EngineOptions(flavor, compute, profile, workspace_mib, timing_cache, dla_core, hardware_compatible),
        output=output, io=io, name=name, ram_bytes=None if ram is None else bytes_of(ram),
    )  # fmt: skip
    if precision == "all" and target != "all":
        raise BadInput(f"--precision all goes with --target all; target {target!r} alone has one precision a bundle.")
    tasks, left_out = tasks_of(target, request, out)
    if report and not overwrite:
        check_pictures(out, tasks)
    if target == "all":
        for row in left_out:
            print(f"left out {row.target}: {row.reason}", file=sys.stderr, flush=True)
        if not tasks:
            raise BadInput("no target can give what is asked for; `lawder-edge targets` lists what each can.")
        found = list(isolated.export_several(tasks, on_start=_tell))
    else:
        from lawder_edge.cli.progress import progress
        from lawder_edge.cli.reading import ReadingNotes

        notes = ReadingNotes()
        with progress("verifying") as tell:
            found = [
                export_verified(
                    target, request, out=out, progress=tell, on_bad=notes.left_out, on_note=notes.interpreted
                )
            ]
        notes.finish()
    # A target whose runtime is not here costs its row alone.
    code = max(0 if target == "all" and row.exit_code == 4 else row.exit_code for row in found)
    if format == "json":
        print(json.dumps([asdict(row) for row in (*found, *left_out)] if target == "all" else asdict(found[0])))
    elif report:
        code = max(code, _report(found, request, out))
    else:
        _print(found)
    return code


def _tell(task: ExportTask) -> None:
    asked = task.request
    print(f"exporting {asked.model} to {task.target} {asked.precision}", file=sys.stderr, flush=True)


def _print(found: list[ExportOutcome]) -> None:
    from lawder_edge.cli import export_table as tables
    from lawder_edge.cli.tables import print_table

    print_table(tables.HEADER, [tables.cells(row) for row in found], right=tables.NUMERIC)
    for row in found:
        for line in tables.remarks(row):
            print(line)
        if row.bundle and row.status != "unverified-here":
            print(f"next: lawder-edge predict IMAGE --model {row.bundle} --out masks", file=sys.stderr)
            print(f"      lawder-edge bench --model {row.bundle}", file=sys.stderr)


def _report(found: list[ExportOutcome], request: ExportRequest, out: Path) -> int:
    """One table of what was exported, how well it agrees and how fast it is, and a picture of its masks.

    Returns: the exit code of the measurement.
    """
    from lawder_edge.bench.report import header
    from lawder_edge.cli import export_table as tables
    from lawder_edge.cli.progress import progress
    from lawder_edge.cli.tables import print_table
    from lawder_edge.exporting.report import draw, measure

    with progress("measuring") as tell:
        timed = measure(found, request.model, progress=tell)
    for line in header(timed):
        print(line)
    rows = tables.measured_rows(found, {row.source: row.measured for row in timed.rows}, model=request.model)
    print_table(tables.MEASURED_HEADER, rows, right=tables.MEASURED_NUMERIC)
    for line in [*(line for row in found for line in tables.remarks(row)), *tables.unmeasured(timed.rows)]:
        print(line)
    for line in timed.warnings:
        print(f"warning: {line}")
    for line in draw(found, request, out):
        print(line)
    return timed.exit_code
