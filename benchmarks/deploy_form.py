"""What the deploy form gains: latency of a network as it was trained, in its deploy form, and with its lanes filled.

    python benchmarks/deploy_form.py --model order --rounds 200

One thread, 256x256, all called in turn (A B C A B C); the ratio of each round, its median and the 95 % bootstrap
interval. With --cpu-time the processor's time of the calling thread, in which other work on the machine is not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from lawder_edge.models.deploy import to_deploy
from lawder_edge.models.lanes import fill_lanes
from lawder_edge.targets.onnx import INPUT, to_proto
from lawder_edge.targets.registry import ExportSpec
from lawder_edge.weights import load_model

Call = Callable[[], object]


def onnxruntime_call(data: bytes, x: np.ndarray) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {INPUT: x})


def openvino_call(data: bytes, x: np.ndarray) -> Call:
    import openvino as ov

    core = ov.Core()
    config = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(data), "CPU", config)
    return lambda: compiled([x])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="order")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--cpu-time", action="store_true")
    args = parser.parse_args()
    module = load_model(args.model).module
    spec = ExportSpec(size=(256, 256))
    deployed = to_deploy(module)
    forms = {
        "as trained": to_proto(module, spec),
        "deploy form": to_proto(deployed, spec),
        "lanes filled": to_proto(fill_lanes(deployed), spec, narrow_resize=b"pytorch_half_pixel"),
    }
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (1, 3, 256, 256)).astype(np.float32)
    print("| runtime | form | median ms | times faster than as trained [95 %] |\n|---|---|---|---|")
    for runtime, make in (("onnxruntime", onnxruntime_call), ("openvino", openvino_call)):
        calls = [make(proto.SerializeToString(), x) for proto in forms.values()]
        times_ms = np.empty((args.rounds + 20, len(calls)))
        for row in times_ms:
            for i, call in enumerate(calls):
                start = time.thread_time() if args.cpu_time else time.perf_counter()
                call()
                row[i] = ((time.thread_time() if args.cpu_time else time.perf_counter()) - start) * 1e3
        times_ms = times_ms[20:]
        for i, name in enumerate(forms):
            ratios = times_ms[:, 0] / times_ms[:, i]
            draws = np.median(rng.choice(ratios, (2000, len(ratios))), axis=1)
            low, high = np.percentile(draws, [2.5, 97.5])
            took = np.median(times_ms[:, i])
            print(f"| {runtime} | {name} | {took:.2f} | {np.median(ratios):.2f} [{low:.2f}, {high:.2f}] |")


if __name__ == "__main__":
    main()
