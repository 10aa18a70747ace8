"""Where the time of a bundle goes, operator by operator, as its runtime tells it.

    python benchmarks/operators.py --model build/order/onnx build/order/openvino --out benchmarks/results/operators

onnxruntime and OpenVINO count time by operator themselves; the C is compiled with a clock in its hook after each
operator (those that it computes row by row have one time together). LiteRT counts too, but its wheel has no way to read
that. One thread; of each operator the 20th percentile over --calls, since other work only adds, summed by kind; of C
the processor's time, which other work is not in. Writes OUT.md.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import json
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from lawder_edge.bench.noise import busy_percent
from lawder_edge.bundle.processing import to_tensor
from lawder_edge.bundle.store import Bundle, open_bundle
from lawder_edge.data.phantom import make_frame
from lawder_edge.errors import BadInput
from lawder_edge.runners.c.host import find_compiler
from lawder_edge.targets.c import memory

# Kind of operator, then its calls in one inference and their time in microseconds.
Times = dict[str, tuple[int, float]]


def by_kind(times_us: dict[tuple[str, str], list[float]]) -> Times:
    """times_us: of each (kind, name) of an operator, one for each inference."""
    found: Times = {}
    for (kind, _), values in times_us.items():
        count, total = found.get(kind, (0, 0.0))
        found[kind] = (count + 1, total + float(np.percentile(values, 20)))
    return dict(sorted(found.items(), key=lambda item: -item[1][1]))


def onnxruntime_times(bundle: Bundle, x: np.ndarray, calls: int) -> Times:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "profile"))
        session = onnxruntime.InferenceSession(str(bundle.model_path), options, providers=["CPUExecutionProvider"])
        for _ in range(calls):
            session.run(None, {session.get_inputs()[0].name: x})
        events = json.loads(Path(session.end_profiling()).read_text())
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["args"]["op_name"], event["name"]].append(event["dur"])
    return by_kind(times)


def openvino_times(bundle: Bundle, x: np.ndarray, calls: int) -> Times:
    import openvino as ov

    from lawder_edge.targets.openvino import core, cpu_config

    network = core().read_model(str(bundle.model_path))
    compiled = core().compile_model(network, "CPU", {**cpu_config(1), ov.properties.enable_profiling(): True})
    request = compiled.create_infer_request()
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(calls):
        request.infer([x])
        for info in request.profiling_info:
            if info.status == ov.ProfilingInfo.Status.EXECUTED:
                times[f"{info.node_type} ({info.exec_type})", info.node_name].append(
                    info.real_time.total_seconds() * 1e6
                )
    return by_kind(times)


CLOCK = """#include <time.h>
#define MOST 4096
double us_of[MOST];
int number_of[MOST], count;
static double last_us;
static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}
void begin(void) { count = 0; last_us = now_us(); }
void after(int number)
{
    const double us = now_us();
    if (count < MOST) { us_of[count] = us - last_us; number_of[count++] = number; }
    last_us = now_us();
}
"""


def c_times(bundle: Bundle, x: np.ndarray, calls: int) -> Times:
    source = bundle.model_path
    manifest = bundle.manifest
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in (*bundle.path.glob("*.c"), *bundle.path.glob("*.h")):
            (folder / path.name).write_bytes(path.read_bytes())
        (folder / "main.c").unlink(missing_ok=True)
        (folder / "clock.c").write_text(CLOCK)
        hook = "void after(int number);\n#define LW_AFTER_OPERATOR(number, output, bytes) after(number)\n"
        (folder / source.name).write_text(hook + source.read_text())
        flags = ("-std=c99", "-O2", "-shared", "-fPIC", "-D_POSIX_C_SOURCE=199309L")
        sources = sorted(str(path) for path in folder.glob("*.c"))
        subprocess.run([find_compiler(), *flags, *sources, "-o", str(folder / "timed.so")], check=True)
        library = ctypes.CDLL(str(folder / "timed.so"))
    arena_bytes = getattr(library, f"lw_{source.stem}_arena_bytes")
    arena_bytes.restype = ctypes.c_size_t
    arena = np.empty(arena_bytes() + 16, np.uint8)
    start = arena.ctypes.data + -arena.ctypes.data % 16
    picture = np.ascontiguousarray(np.rint(x[0].transpose(1, 2, 0) * 128) + 128, np.uint8)
    out = np.empty((manifest.input.height, manifest.input.width, manifest.output.classes), np.int8)
    given = [ctypes.c_void_p(p) for p in (picture.ctypes.data, out.ctypes.data, start)]
    with (bundle.path / memory.FILE).open(newline="") as f:
        operators = list(csv.DictReader(f))
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(calls):
        library.begin()
        status = getattr(library, f"lw_{source.stem}_logits")(*given, ctypes.c_size_t(arena_bytes()))
        if status != 0:
            raise BadInput(f"{source}: it refuses the call with status {status}; export the bundle again.")
        before = -1
        for number, us in zip(
            (ctypes.c_int * 4096).in_dll(library, "number_of")[: ctypes.c_int.in_dll(library, "count").value],
            (ctypes.c_double * 4096).in_dll(library, "us_of"),
            strict=False,
        ):
            kind = operators[number]["kind"]
            if operators[number]["row_by_row"] == "1":
                kind = f"row by row, {before + 1} to {number} ({operators[before + 1]['module'] or 'input'})"
            times[kind, str(number)].append(us)
            before = number
    return by_kind(times)


RUNTIMES = {"onnx": onnxruntime_times, "openvino": openvino_times, "c": c_times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, nargs="+", required=True, help="bundles of onnx, openvino or c")
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--out", type=Path, required=True, help="name of the result, without a suffix")
    args = parser.parse_args()
    image = make_frame(np.random.default_rng(0), size=(480, 640)).image
    parts = []
    for path in args.model:
        bundle = open_bundle(path)
        target = bundle.manifest.target
        if target not in RUNTIMES:
            raise BadInput(f"{path}: {target} tells no times of operators; those that do: {', '.join(RUNTIMES)}.")
        size = (bundle.manifest.input.height, bundle.manifest.input.width)
        found = RUNTIMES[target](bundle, to_tensor(image, size), args.calls)
        whole = sum(us for _, us in found.values())
        lines = [f"## {bundle.manifest.name}", "", "| operator | calls | us | share |", "|---|---|---|---|"]
        lines += [
            f"| {kind} | {n} | {us:.0f} | {us / whole:.0%} |" for kind, (n, us) in found.items() if us > 0.005 * whole
        ]
        parts.append("\n".join([*lines, f"| all | {sum(n for n, _ in found.values())} | {whole:.0f} | 100% |"]))
    busy = f"One thread, 20th percentile of {args.calls} calls; other work used {busy_percent():.0f} % of the CPU."
    text = "\n\n".join(["# Where the time goes, operator by operator", busy, *parts]) + "\n"
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
