"""What the deploy form gains: latency of a network exported as it was trained against its deploy form, in one process.

    python benchmarks/deploy_form.py --model order --rounds 200

One thread, 256x256, both called in turn (A B A B); the ratio of each round, its median and the 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from lawder_edge.models.deploy import to_deploy
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
    args = parser.parse_args()
    module = load_model(args.model).module
    spec = ExportSpec(size=(256, 256))
    plain, deployed = (to_proto(m, spec).SerializeToString() for m in (module, to_deploy(module)))
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (1, 3, 256, 256)).astype(np.float32)
    print("| runtime | as trained, median ms | deploy form, median ms | times faster [95 %] |\n|---|---|---|---|")
    for name, make in (("onnxruntime", onnxruntime_call), ("openvino", openvino_call)):
        calls = (make(plain, x), make(deployed, x))
        times_ms = np.empty((args.rounds + 20, 2))
        for row in times_ms:
            for i, call in enumerate(calls):
                start = time.perf_counter()
                call()
                row[i] = (time.perf_counter() - start) * 1e3
        times_ms = times_ms[20:]
        ratios = times_ms[:, 0] / times_ms[:, 1]
        draws = np.median(rng.choice(ratios, (2000, len(ratios))), axis=1)
        low, high = np.percentile(draws, [2.5, 97.5])
        a, b = np.median(times_ms, axis=0)
        print(f"| {name} | {a:.2f} | {b:.2f} | {np.median(ratios):.2f} [{low:.2f}, {high:.2f}] |")


if __name__ == "__main__":
    main()
