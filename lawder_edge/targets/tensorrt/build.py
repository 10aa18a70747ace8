"""Building an engine from ONNX with `tensorrt_rtx` (no GPU needed) or `tensorrt` (on the GPU that it is for)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from lawder_edge.errors import BadInput, Unavailable
from lawder_edge.files import write_file
from lawder_edge.runners.tensorrt.engine import INPUT, last_error, quiet_logger
from lawder_edge.targets.engine import EngineOptions, Flavor
from lawder_edge.targets.registry import ExportSpec

PACKAGES: dict[Flavor, str] = {"rtx": "tensorrt_rtx", "classic": "tensorrt"}
INSTALL: dict[Flavor, str] = {
    "rtx": "pip install tensorrt-rtx-cu13",
    "classic": "pip install tensorrt (JetPack brings it on a Jetson)",
}
# An engine for any batch takes up to this many images.
LARGEST_BATCH = 4

Shape = tuple[int, int, int, int]


def import_tensorrt(flavor: Flavor) -> Any:
    """The module of that flavor. Raises Unavailable, with the pip command."""
    import importlib

    try:
        return importlib.import_module(PACKAGES[flavor])
    except ImportError as error:
        raise Unavailable(
            f"flavor {flavor!r} of target 'tensorrt' needs {PACKAGES[flavor]}, which cannot be imported here "
            f"({error}). Install with: {INSTALL[flavor]}"
        ) from error


def profile_shapes(spec: ExportSpec) -> tuple[Shape, Shape, Shape] | None:
    """Smallest, usual and largest input (B, C, H, W) of an engine whose input is free in anything, else None.

    Raises BadInput for a profile off the grid of sizes that the network takes.
    """
    if spec.size is not None and not spec.dynamic_batch:
        return None
    off = [side for side in spec.engine.profile if side % spec.multiple_of]
    if off:
        raise BadInput(f"profile {off[0]}: wanted multiples of {spec.multiple_of}, as every input size is.")
    sizes = [spec.size or (side, side) for side in spec.engine.profile]
    batches = (1, 1, LARGEST_BATCH if spec.dynamic_batch else 1)
    low, usual, high = ((b, spec.channels, h, w) for b, (h, w) in zip(batches, sizes, strict=True))
    return low, usual, high


def is_typed(trt: Any, options: EngineOptions) -> bool:
    """Whether tensors keep the types that the ONNX gives them, which a DLA and releases before 9 do not know."""
    return options.dla_core is None and hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")


def build_engine(trt: Any, onnx: bytes, spec: ExportSpec) -> bytes:
    """The serialised engine. trt: the module of `spec.engine.flavor`. onnx: legal for TensorRT.

    Reads and writes `spec.engine.timing_cache`. The same input gives engines that differ in their bytes.

    Raises BadInput for a network or options that TensorRT does not take; Unavailable for classic without a GPU.
    """
    logger = quiet_logger(trt)
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # pybind11's word for a factory that gave nothing
        raise Unavailable(
            f"tensorrt {trt.__version__} builds engines only beside an NVIDIA GPU, and there is none here "
            f"({last_error(logger)}). Copy the bundle to the GPU's machine and run build.sh in it."
        ) from error
    network = builder.create_network(_network_flags(trt, spec.engine))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        said = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise BadInput(f"TensorRT {trt.__version__} cannot read this network: {said[:300]}. Export it as onnx instead.")
    config = builder.create_builder_config()
    _configure(trt, config, spec)
    shapes = profile_shapes(spec)
    if shapes is not None:
        profile = builder.create_optimization_profile()
        profile.set_shape(INPUT, *shapes)
        config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BadInput(f"TensorRT {trt.__version__} cannot build this network: {last_error(logger)}.")
    if spec.engine.timing_cache is not None:
        write_file(spec.engine.timing_cache, bytes(config.get_timing_cache().serialize()))
    return bytes(engine)


def _network_flags(trt: Any, options: EngineOptions) -> int:
    kinds = trt.NetworkDefinitionCreationFlag
    # The first is the only way in TensorRT 8, and gone or without meaning in later ones.
    wanted = [getattr(kinds, "EXPLICIT_BATCH", None), kinds.STRONGLY_TYPED if is_typed(trt, options) else None]
    return sum(1 << int(flag) for flag in wanted if flag is not None)


def _configure(trt: Any, config: Any, spec: ExportSpec) -> None:
    options = spec.engine
    if spec.precision == "fp32":
        # TensorFloat-32 keeps 10 bits of 23: no float32.
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.workspace_mib:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if options.compute:
        _set_compute(trt, config, options.compute)
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.timing_cache is not None:
        config.set_timing_cache(config.create_timing_cache(_read_if_there(options.timing_cache)), False)
    if not is_typed(trt, options):
        for name in {"fp32": (), "fp16": ("FP16",), "int8": ("INT8", "FP16")}[spec.precision]:
            config.set_flag(_flag(trt, name))
    if options.dla_core is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = options.dla_core
        config.set_flag(_flag(trt, "GPU_FALLBACK"))


def _flag(trt: Any, name: str) -> Any:
    flag = getattr(trt.BuilderFlag, name, None)
    if flag is None:
        raise BadInput(f"TensorRT {trt.__version__} has no {name}; the DLA needs a release of JetPack that has it.")
    return flag


def _set_compute(trt: Any, config: Any, compute: tuple[str, ...]) -> None:
    known = {name: value for name, value in vars(trt.ComputeCapability).items() if name.startswith("SM")}
    config.num_compute_capabilities = len(compute)
    for i, text in enumerate(compute):
        name = "SM" + text.replace(".", "")
        if name not in known:
            have = ", ".join(f"{n[2:-1]}.{n[-1]}" for n in sorted(known, key=lambda n: int(n[2:])))
            raise BadInput(f"compute capability {text}: TensorRT-RTX {trt.__version__} builds for {have}.")
        config.set_compute_capability(known[name], i)


def _read_if_there(path: Path) -> bytes:
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return b""
