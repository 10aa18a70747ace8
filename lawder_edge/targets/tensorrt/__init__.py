"""TensorRT: an engine where one can be built, and always the kit that builds it on the GPU's own machine."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from lawder_edge.bundle.certificate import FP16_LIMITS, FP32_LIMITS, INT8_LIMITS
from lawder_edge.bundle.runner import Runner
from lawder_edge.bundle.store import Bundle
from lawder_edge.errors import BadBundle, Unavailable
from lawder_edge.files import write_file
from lawder_edge.targets.engine import EngineOptions, Flavor
from lawder_edge.targets.registry import Artifact, ExportSpec, Program, Target
from lawder_edge.versions import tool_of

# The kit: the graph as every ONNX runtime reads it, as TensorRT wants it where that differs, and what build.sh reads.
FLOAT_ONNX, LEGAL_ONNX, SETTINGS = "model.onnx", "model.trt.onnx", "build.conf"

TARGET = Target(
    name="tensorrt",
    suffix=".engine",
    precisions=("fp16", "fp32", "int8"),
    layout="NCHW",
    extra="tensorrt",
    description="TensorRT for NVIDIA GPUs, desktop and Jetson",
    module=__name__,
    # Neither flavor's package: without one the kit is written, and which one it takes to run stands in the bundle.
    to_export=("torch", "onnx", "onnxscript"),
    to_run=("tensorrt_rtx",),
    gates=(("fp32", FP32_LIMITS), ("fp16", FP16_LIMITS), ("int8", INT8_LIMITS)),
    forms=(("fp32", "onnx"), ("fp16", "onnx"), ("int8", "onnx")),
    reads=("opset", "engine"),
    activations="int8, symmetric, one scale a tensor; floating point after a sigmoid or softmax",
    runs_by_name=((".rtx.engine", ("tensorrt_rtx",)), (".engine", ("tensorrt",))),
    checks_what_it_runs=True,
    # What engine.py moves to and from a GPU is float32.
    outputs=("logits", "probabilities"),
    inputs=("float32",),
)


def export(program: Program, spec: ExportSpec, out: Path) -> Artifact:
    """Write the kit beside `out`, and where one can be built the engine as `out`, of rtx with `.rtx` before the suffix.

    fp16 computes in half precision between a float32 input and output; int8 wants a program with quantize and
    dequantize nodes, whose activations become symmetric. Without package or GPU the artifact is the kit's ONNX file,
    with the reason as its remark.

    The kit has the same bytes for the same input, the engine has not. Raises BadInput as `onnx.to_proto`, for int8 of a
    network that is not quantised, and for what TensorRT refuses.
    """
    from lawder_edge.targets.onnx import to_proto
    from lawder_edge.targets.tensorrt import build

    build.profile_shapes(spec)
    proto = to_proto(program, spec)
    plain = _bytes(proto)
    legal = _bytes(_legal(proto, spec.precision))
    tools = tuple(tool_of(module) for module in ("onnx", "onnxscript", "torch"))
    flavor = spec.engine.flavor
    try:
        trt = build.import_tensorrt(flavor)
        weak = spec.precision == "fp16" and not build.is_typed(trt, spec.engine)
        engine = build.build_engine(trt, plain if weak else legal, spec)
    except Unavailable as error:
        path = _write_kit(out.parent, spec, plain, legal)
        return Artifact(path, hashlib.sha256(legal).hexdigest(), len(legal), tools, remarks=(str(error),))
    _write_kit(out.parent, spec, plain, legal)
    path = out.with_suffix(".rtx.engine") if flavor == "rtx" else out
    write_file(path, engine)
    tools = (*tools, tool_of(build.PACKAGES[flavor]))
    return Artifact(path, hashlib.sha256(engine).hexdigest(), len(engine), tools)


def load(bundle: Bundle, *, threads: int = 0) -> Runner:
    """Open the bundle's engine on the first GPU. threads: says nothing there.

    Raises Unavailable for a bundle that is a kit, a package that is missing, or no GPU; BadBundle for an engine of
    another release or another GPU.
    """
    from lawder_edge.runners.tensorrt.engine import RTX_SUFFIX, Engine, EngineError, Gpu, NoGpuError
    from lawder_edge.targets.tensorrt import build
    from lawder_edge.targets.tensorrt.runner import TensorRtRunner

    path = bundle.model_path
    if path.suffix != TARGET.suffix:
        raise Unavailable(_why_a_kit(bundle))
    trt = build.import_tensorrt("rtx" if path.name.endswith(RTX_SUFFIX) else "classic")
    try:
        return TensorRtRunner(
            bundle.manifest, Engine(path.read_bytes(), trt, Gpu(), output=bundle.manifest.output.kind)
        )
    except NoGpuError as error:
        raise Unavailable(f"{path.name} was built, but running it needs an NVIDIA GPU: {error}.") from error
    except EngineError as error:
        raise BadBundle(
            f"{path}: {error}. Export it again here, or run build.sh in the bundle, for its run.py."
        ) from error


def _legal(proto: Any, precision: str) -> Any:
    """The graph as TensorRT takes it at that precision. Raises BadInput."""
    from lawder_edge.targets import qdq
    from lawder_edge.targets.tensorrt.half import to_half

    if precision == "int8":
        qdq.check_quantized(proto)
        return qdq.to_symmetric(proto)
    return to_half(proto) if precision == "fp16" else proto


def _bytes(proto: Any) -> bytes:
    import onnx

    data: bytes = proto.SerializeToString(deterministic=True)
    onnx.checker.check_model(data, full_check=True)
    return data


def _write_kit(folder: Path, spec: ExportSpec, plain: bytes, legal: bytes) -> Path:
    """What build.sh, which comes with the runner, needs. Returns: the ONNX file that an engine is made from."""
    from lawder_edge.targets.onnx import INPUT
    from lawder_edge.targets.tensorrt.build import profile_shapes

    write_file(folder / FLOAT_ONNX, plain)
    name = FLOAT_ONNX if legal == plain else LEGAL_ONNX
    write_file(folder / name, legal)
    shapes = [f"{INPUT}:" + "x".join(map(str, shape)) for shape in profile_shapes(spec) or ()] or [""] * 3
    lines = (
        f"FLAVOR={spec.engine.flavor}", f"PRECISION={spec.precision}", f"ONNX={name}", f"FLOAT_ONNX={FLOAT_ONNX}",
        f"MIN_SHAPES={shapes[0]}", f"OPT_SHAPES={shapes[1]}", f"MAX_SHAPES={shapes[2]}", *_engine_settings(spec.engine),
    )  # fmt: skip
    write_file(folder / SETTINGS, "".join(f"{line}\n" for line in lines).encode())
    return folder / name


def _engine_settings(engine: EngineOptions) -> list[str]:
    """Those that were asked for; what stands in the environment of build.sh comes before them. Its timing cache is a
    file of the bundle.
    """
    asked = {
        "DLA_CORE": "" if engine.dla_core is None else str(engine.dla_core),
        "WORKSPACE_MIB": str(engine.workspace_mib or ""),
        "HARDWARE_COMPATIBLE": "1" if engine.hardware_compatible else "",
        "COMPUTE": ",".join(engine.compute),
    }
    return [f"{name}=${{{name}:-{value}}}" for name, value in asked.items() if value]


def _why_a_kit(bundle: Bundle) -> str:
    from lawder_edge.targets.tensorrt.build import INSTALL

    text = (bundle.path / SETTINGS).read_text()
    flavor: Flavor = "classic" if "FLAVOR=classic\n" in text else "rtx"
    where = " on that machine" if flavor == "classic" else ""
    return (
        "the bundle holds no engine, only what builds one. Copy it to the GPU's machine and run build.sh and run.py "
        f"there; or export again with --flavor {flavor}{where} after: {INSTALL[flavor]}"
    )
