from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from int8_network import quantized_tiny
from numpy.typing import NDArray
from target_contract import WEIGHTS, Tiny, randomised, run_on_device

from lawder_edge.bundle.manifest import Manifest
from lawder_edge.bundle.store import BUILT_IN_PLACE, Bundle, open_bundle, read_certificate
from lawder_edge.errors import BadBundle, BadInput, Unavailable
from lawder_edge.exporting.export import export_bundle
from lawder_edge.exporting.outcome import export_verified, outcome_of
from lawder_edge.exporting.request import ExportRequest
from lawder_edge.exporting.verify import logit_sizes, measure, phantom_images
from lawder_edge.runners.tensorrt.engine import Engine, EngineError, NoGpuError, WrongSizeError
from lawder_edge.runners.tensorrt.network import BUILT, find_engine
from lawder_edge.targets import tensorrt
from lawder_edge.targets.engine import EngineOptions
from lawder_edge.targets.registry import ExportSpec, load_runner
from lawder_edge.targets.tensorrt import build
from lawder_edge.targets.tensorrt.runner import TensorRtRunner

FIXED = ExportSpec(size=(64, 96))
CLASSIC = EngineOptions(flavor="classic")


def make(out: Path, spec: ExportSpec) -> Bundle:
    """A verified bundle, as the command line makes it."""
    model = quantized_tiny() if spec.precision == "int8" else randomised(Tiny())
    return export_bundle(
        model,
        target="tensorrt",
        spec=spec,
        weights_info=WEIGHTS,
        out=out,
        check=lambda made: measure(made, model, phantom_images(1)),
    )


def has_gpu() -> bool:
    from lawder_edge.runners.tensorrt.engine import Gpu

    try:
        Gpu()
    except NoGpuError:
        return False
    return True


@pytest.fixture
def without_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture(scope="module")
def rtx() -> Any:
    return pytest.importorskip("tensorrt_rtx", reason="no tensorrt_rtx here: `make test` has it in .venv-rtx")


class TestRtx:
    """Builds engines. `make test` runs these in .venv-rtx, which has TensorRT-RTX."""

    @pytest.fixture(scope="class")
    @classmethod
    def bundle(cls, rtx: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
        return make(tmp_path_factory.mktemp("rtx") / "tiny", ExportSpec(precision="fp16", dynamic_batch=True))

    def test_an_engine_for_any_size_is_built_without_a_gpu(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        assert manifest.model_file == "tests_Tiny-tensorrt-fp16.rtx.engine"
        assert manifest.model_entry.size_bytes > 100_000
        assert any(t.name.startswith("tensorrt") for t in manifest.tools)
        conf = (bundle.path / "build.conf").read_text()
        assert "MIN_SHAPES=image:1x3x32x32\nOPT_SHAPES=image:1x3x256x256\nMAX_SHAPES=image:4x3x512x512\n" in conf

    def test_where_no_gpu_is_it_is_unverified_with_the_reason_and_no_failure(self, bundle: Bundle) -> None:
        if has_gpu():
            pytest.skip("there is a GPU here")
        certificate = read_certificate(bundle)
        assert certificate is not None
        assert certificate.status == "unverified-here"
        assert "needs an NVIDIA GPU" in certificate.reason
        assert outcome_of(bundle, certificate).exit_code == 0
        with pytest.raises(Unavailable, match="NVIDIA GPU"):
            load_runner(bundle)

    def test_no_file_of_the_bundle_holds_a_machine_path(self, bundle: Bundle, project_root: Path) -> None:
        needles = [str(p).encode() for p in (project_root, Path.home(), sys.prefix, bundle.path.parent)]
        for path in bundle.path.rglob("*"):
            if path.is_file():
                assert not [n for n in needles if n in path.read_bytes()], path.name

    def test_the_runner_ends_with_exit_code_4_where_no_gpu_is(self, bundle: Bundle, tmp_path: Path) -> None:
        if has_gpu():
            pytest.skip("there is a GPU here")
        folder = shutil.copytree(bundle.path, tmp_path / "copied")
        done = run_on_device(folder, "--check")
        assert done.returncode == 4
        assert "NVIDIA" in done.stderr
        assert open_bundle(folder).path == folder

    @pytest.mark.parametrize(
        ("precision", "engine"), [("fp32", EngineOptions()), ("int8", EngineOptions(compute=("8.6", "12.0")))]
    )
    def test_engines_of_one_size_are_built(
        self, rtx: Any, precision: str, engine: EngineOptions, tmp_path: Path
    ) -> None:
        bundle = make(tmp_path / "tiny", replace(FIXED, precision=precision, engine=engine))
        assert bundle.manifest.model_file.endswith(".rtx.engine")
        assert "MIN_SHAPES=\n" in (bundle.path / "build.conf").read_text()
        legal = bundle.path / "model.trt.onnx"
        assert legal.is_file() == (precision == "int8")
        if precision == "int8":
            values = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(str(legal)).graph.initializer}
            nodes = [n for n in onnx.load(str(legal)).graph.node if n.op_type == "QuantizeLinear"]
            assert nodes
            assert not any(values[n.input[2]].any() for n in nodes)

    @pytest.mark.parametrize("precision", ["fp16", "int8"])
    def test_an_engine_of_order_is_built(self, rtx: Any, precision: str, tmp_path: Path) -> None:
        row = export_verified(
            "tensorrt", ExportRequest(precision=precision, size=(64, 96), limit=1), out=tmp_path / "a"
        )
        assert row.exit_code == 0
        assert open_bundle(tmp_path / "a").manifest.model_file == f"order-tensorrt-{precision}.rtx.engine"

    def test_a_compute_capability_that_rtx_does_not_know_is_told_with_those_it_does(
        self, rtx: Any, tmp_path: Path
    ) -> None:
        spec = replace(FIXED, engine=EngineOptions(compute=("5.0",)))
        with pytest.raises(BadInput, match=r"compute capability 5\.0: .* builds for 7\.5, 8\.0"):
            tensorrt.export(randomised(Tiny()), spec, tmp_path / "a.engine")
        assert list(tmp_path.iterdir()) == []

    def test_asymmetric_zero_points_are_what_tensorrt_refuses(self, rtx: Any) -> None:
        # If this fails, TensorRT has learnt them, and the symmetric copy has lost its reason.
        from qdq_graphs import gated

        from lawder_edge.targets.qdq import to_symmetric

        with pytest.raises(BadInput, match="zero point"):
            build.build_engine(rtx, gated().SerializeToString(), FIXED)
        assert build.build_engine(rtx, to_symmetric(gated()).SerializeToString(), FIXED)


@pytest.mark.usefixtures("without_tensorrt")
@pytest.mark.parametrize(
    ("engine", "said"),
    [(EngineOptions(), "pip install tensorrt-rtx-cu13"), (CLASSIC, "pip install tensorrt (JetPack")],
)
def test_without_the_package_the_kit_is_made_and_the_exit_code_is_4(
    engine: EngineOptions, said: str, tmp_path: Path
) -> None:
    bundle = make(tmp_path / "tiny", ExportSpec(precision="fp16", engine=engine))
    certificate = read_certificate(bundle)
    assert certificate is not None
    assert certificate.status == "unverified-here"
    assert said in certificate.reason
    assert "build.sh" in certificate.reason
    assert outcome_of(bundle, certificate).exit_code == 4
    assert bundle.manifest.model_file == "model.trt.onnx"
    names = {p.name for p in bundle.path.iterdir()}
    assert {"model.onnx", "build.sh", "build.conf", "run.py", "network.py", "engine.py"} <= names
    done = run_on_device(bundle.path, "--check")
    assert done.returncode == 4
    assert "run `sh build.sh`" in done.stderr
    assert "Needs an NVIDIA GPU" in run_on_device(bundle.path, "--help").stdout


@pytest.mark.usefixtures("without_tensorrt")
def test_no_size_outside_the_profile_is_tried_or_predicted_at(tmp_path: Path) -> None:
    bundle = make(tmp_path / "tiny", ExportSpec(engine=EngineOptions(profile=(64, 128, 192))))
    taken = bundle.manifest.input
    assert (taken.sides, taken.height, taken.width) == ((64, 192), 192, 192)
    assert logit_sizes(taken) == ((192, 192), (128, 128))
    runner = TensorRtRunner(bundle.manifest, lambda x: x[:, :1])
    assert runner.infer(np.zeros((1, 3, 64, 192), np.float32)).shape == (1, 1, 64, 192)
    with pytest.raises(BadInput, match="multiples of 32 from 64 to 192"):
        runner.infer(np.zeros((1, 3, 256, 256), np.float32))


@pytest.mark.usefixtures("without_tensorrt")
def test_the_command_says_why_there_is_no_engine(tmp_path: Path) -> None:
    row = export_verified("tensorrt", ExportRequest(size=(64, 96), limit=1), out=tmp_path / "kit")
    assert "cannot be imported here" in " ".join(row.remarks)


@pytest.mark.usefixtures("without_tensorrt")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_kit_of_probabilities_says_so_and_its_graph_gives_them(precision: str, tmp_path: Path) -> None:
    bundle = make(tmp_path / "tiny", replace(FIXED, precision=precision, output="probabilities"))
    assert bundle.manifest.output.kind == "probabilities"
    graph = onnx.load(str(bundle.model_path)).graph
    assert [v.name for v in graph.output] == ["probabilities"]
    assert "Sigmoid" in {n.op_type for n in graph.node[-2:]}


@pytest.mark.usefixtures("without_tensorrt")
def test_the_manifest_of_an_int8_kit_says_that_activations_are_symmetric(tmp_path: Path) -> None:
    bundle = make(tmp_path / "tiny", replace(FIXED, precision="int8"))
    assert bundle.manifest.quantization is not None
    assert "symmetric" in bundle.manifest.quantization.activations
    assert "asymmetric" not in bundle.manifest.quantization.activations


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_what_engine_py_does_not_move_is_refused(precision: str, tmp_path: Path) -> None:
    model = randomised(Tiny())
    for changes, said in (
        ({"output": "mask"}, "no --output mask. It has: --output logits, --output prob"),
        ({"input_type": "uint8"}, "no --io uint8. It has: --io float"),
    ):
        spec = replace(FIXED, precision=precision, **changes)  # type: ignore[arg-type]
        with pytest.raises(BadInput, match=said):
            export_bundle(model, target="tensorrt", spec=spec, weights_info=WEIGHTS, out=tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_an_engine_is_read_at_the_name_of_what_it_gives() -> None:
    memory = FakeMemory()
    engine = Engine(b"engine", FakeTensorRt(memory), memory, output="probabilities")
    tensor = np.ones((1, 3, 32, 32), np.float32)
    np.testing.assert_array_equal(engine(tensor), 2 * tensor[:, :1])
    assert set(engine._context.addresses) == {"image", "probabilities"}


@pytest.mark.usefixtures("without_tensorrt")
def test_a_kit_has_the_same_bytes_again(tmp_path: Path) -> None:
    model = randomised(Tiny())
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = (tensorrt.export(model, FIXED, tmp_path / name / "a.engine") for name in ("a", "b"))
    assert first.sha256 == second.sha256
    assert "pip install tensorrt-rtx-cu13" in first.remarks[0]


def test_int8_of_a_float_network_is_refused_with_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="lawder-edge qat"):
        tensorrt.export(randomised(Tiny()), replace(FIXED, precision="int8"), tmp_path / "a.engine")
    assert list(tmp_path.iterdir()) == []


def test_a_profile_off_the_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="profile 100: wanted multiples of 32"):
        tensorrt.export(Tiny(), ExportSpec(engine=EngineOptions(profile=(32, 100, 512))), tmp_path / "a.engine")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"flavor": "trt"}, "wanted one of rtx, classic"),
        ({"profile": (64, 32, 512)}, "profile 64 32 512"),
        ({"compute": ("ada",)}, "wanted such as 8.9"),
        ({"workspace_mib": -1}, "workspace"),
        ({"dla_core": 0}, "flavor 'rtx' has no DLA core"),
        ({"hardware_compatible": True, "timing_cache": Path("c")}, "no timing cache or hardware compatibility"),
        ({"flavor": "classic", "compute": ("8.9",)}, "flavor 'classic' has no compute capability"),
        ({"flavor": "classic", "dla_core": -1}, "DLA core -1"),
    ],
)
def test_options_that_cannot_be_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        EngineOptions(**values)


def test_options_off_their_defaults_are_named_as_on_the_command_line() -> None:
    engine = EngineOptions("classic", (), (64, 128, 256), 512, Path("t.cache"), 1, True)
    assert engine.arguments() == [
        *("--flavor", "classic", "--profile", "64", "128", "256", "--workspace-mib", "512"),
        *("--timing-cache", "t.cache", "--dla-core", "1", "--hardware-compatible"),
    ]
    assert EngineOptions(compute=("8.9",)).arguments() == ["--compute", "8.9"]
    assert EngineOptions().arguments() == []


class FakeTensorRt:
    """`tensorrt` as far as it is called, with an engine that doubles its input's first channel.

    Stands in for classic TensorRT and for a GPU, neither of which is on a machine without NVIDIA's hardware.
    """

    __version__ = "10.0"
    NetworkDefinitionCreationFlag = SimpleNamespace(EXPLICIT_BATCH=0, STRONGLY_TYPED=1)
    BuilderFlag = SimpleNamespace(TF32="TF32", FP16="FP16", INT8="INT8", GPU_FALLBACK="GPU_FALLBACK")
    MemoryPoolType = SimpleNamespace(WORKSPACE="WORKSPACE")
    HardwareCompatibilityLevel = SimpleNamespace(AMPERE_PLUS="AMPERE_PLUS")
    DeviceType = SimpleNamespace(DLA="DLA")

    class ILogger:
        Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1)

        def __init__(self) -> None:
            pass

    def __init__(self, memory: FakeMemory | None = None) -> None:
        self.memory = memory
        self.config: Any = None
        self.network_flags = 0
        self.parsed = b""

    # Of building.
    def Builder(self, logger: Any) -> Any:  # noqa: N802
        def create_network(flags: int) -> Any:
            self.network_flags = flags
            return SimpleNamespace()

        def create_config() -> FakeConfig:
            self.config = FakeConfig()
            return self.config  # type: ignore[no-any-return]

        profile = SimpleNamespace(set_shape=lambda *shapes: None)
        return SimpleNamespace(
            create_network=create_network,
            create_builder_config=create_config,
            create_optimization_profile=lambda: profile,
            build_serialized_network=lambda network, config: b"engine",
        )

    def OnnxParser(self, network: Any, logger: Any) -> Any:  # noqa: N802
        def parse(data: bytes) -> bool:
            self.parsed = data
            return True

        return SimpleNamespace(parse=parse)

    # Of running.
    def Runtime(self, logger: Any) -> Any:  # noqa: N802
        def deserialize(data: bytes) -> Any:
            if data != b"engine":
                logger.log(self.ILogger.Severity.ERROR, "built for another release")
                return None
            shapes = ((1, 3, 32, 32), (1, 3, 64, 64), (2, 3, 96, 96))
            return SimpleNamespace(
                create_execution_context=lambda: FakeContext(self.memory),
                get_tensor_profile_shape=lambda name, profile: shapes,
            )

        return SimpleNamespace(deserialize_cuda_engine=deserialize)


class FakeConfig:
    def __init__(self) -> None:
        self.flags = {"TF32"}
        self.cache = b""
        self.workspace = 0

    def set_flag(self, flag: str) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: str) -> None:
        self.flags.discard(flag)

    def set_memory_pool_limit(self, kind: str, size: int) -> None:
        self.workspace = size

    def create_timing_cache(self, data: bytes) -> bytes:
        return data

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> None:
        self.cache = cache

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: self.cache + b"+new")

    def add_optimization_profile(self, profile: Any) -> None:
        pass


class FakeContext:
    def __init__(self, memory: Any) -> None:
        self.memory = memory
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self.shape[0], 1, *self.shape[2:])

    def set_tensor_address(self, name: str, pointer: int) -> bool:
        self.addresses[name] = pointer
        return True

    def execute_async_v3(self, stream: int) -> bool:
        tensor = self.memory.buffers[self.addresses["image"]][: int(np.prod(self.shape))].reshape(self.shape)
        result = (2 * tensor[:, :1]).ravel()
        (output,) = set(self.addresses) - {"image"}
        self.memory.buffers[self.addresses[output]][: result.size] = result
        return not self.memory.fails


class FakeMemory:
    """A GPU's memory: buffers of float32 by pointer."""

    stream = 7

    def __init__(self, *, fails: bool = False) -> None:
        self.buffers: dict[int, NDArray[np.float32]] = {}
        self.fails = fails
        self.allocated = 0

    def allocate(self, size_bytes: int) -> int:
        self.allocated += 1
        self.buffers[self.allocated] = np.zeros(size_bytes // 4, np.float32)
        return self.allocated

    def free(self, pointer: int) -> None:
        del self.buffers[pointer]

    def upload(self, pointer: int, array: NDArray[np.float32]) -> None:
        self.buffers[pointer][: array.size] = array.ravel()

    def download(self, array: NDArray[np.float32], pointer: int) -> None:
        array[...] = self.buffers[pointer][: array.size].reshape(array.shape)

    def wait(self) -> None:
        pass


def test_an_engine_gives_its_output_at_every_size_and_keeps_its_buffers() -> None:
    memory = FakeMemory()
    engine = Engine(b"engine", FakeTensorRt(memory), memory)
    rng = np.random.default_rng(0)
    for shape in ((1, 3, 32, 32), (2, 3, 96, 64), (1, 3, 32, 64), (2, 3, 96, 64)):
        tensor = rng.uniform(-1, 1, shape).astype(np.float32)
        np.testing.assert_array_equal(engine(tensor), 2 * tensor[:, :1])
    assert memory.allocated == 4
    assert len(memory.buffers) == 2


def test_a_size_outside_the_profile_is_told_with_the_profile() -> None:
    engine = Engine(b"engine", FakeTensorRt(FakeMemory()), FakeMemory())
    with pytest.raises(WrongSizeError, match=r"takes \(1, 3, 32, 32\) to \(2, 3, 96, 96\), got \(1, 3, 128, 96\)"):
        engine(np.zeros((1, 3, 128, 96), np.float32))


def test_an_engine_that_is_refused_or_fails_tells_what_tensorrt_said() -> None:
    memory = FakeMemory(fails=True)
    with pytest.raises(EngineError, match=r"TensorRT 10\.0 refuses it \(built for another release"):
        Engine(b"other", FakeTensorRt(memory), memory)
    with pytest.raises(EngineError, match="fails on an input"):
        Engine(b"engine", FakeTensorRt(memory), memory)(np.zeros((1, 3, 32, 32), np.float32))


def sample_manifest(tmp_path: Path) -> Manifest:
    artifact = tmp_path / "bundle"
    return export_bundle(Tiny(), target="onnx", spec=FIXED, weights_info=WEIGHTS, out=artifact).manifest


def test_the_runner_turns_what_an_engine_tells_into_errors_for_users(tmp_path: Path) -> None:
    manifest = sample_manifest(tmp_path)
    tensor = np.zeros((1, 3, 64, 96), np.float32)

    def raising(error: Exception) -> Callable[[Any], Any]:
        def infer(tensor: Any) -> Any:
            raise error

        return infer

    with pytest.raises(BadInput, match="--profile"):
        TensorRtRunner(manifest, raising(WrongSizeError("too large"))).infer(tensor)
    with pytest.raises(BadBundle, match="out of memory"):
        TensorRtRunner(manifest, raising(EngineError("out of memory"))).infer(tensor)
    with pytest.raises(BadInput, match="64, 96"):
        TensorRtRunner(manifest, raising(EngineError("never asked"))).infer(tensor[:, :, :32])
    assert TensorRtRunner(manifest, lambda x: x[:, :1]).predict(np.zeros((50, 70, 3), np.uint8)).shape == (50, 70)


def test_a_classic_engine_is_built_with_the_options_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trt = FakeTensorRt()
    monkeypatch.setattr(build, "import_tensorrt", lambda flavor: trt)
    cache = tmp_path / "timing"
    cache.write_bytes(b"old")
    options = EngineOptions("classic", workspace_mib=256, timing_cache=cache, hardware_compatible=True)
    artifact = tensorrt.export(randomised(Tiny()), replace(FIXED, engine=options), tmp_path / "a.engine")
    assert artifact.path == tmp_path / "a.engine"
    assert artifact.path.read_bytes() == b"engine"
    assert trt.network_flags == 0b11
    assert trt.config.flags == set()
    assert trt.config.workspace == 256 << 20
    assert trt.config.hardware_compatibility_level == "AMPERE_PLUS"
    assert cache.read_bytes() == b"old+new"


def test_a_dla_gets_the_float32_graph_and_flags_instead_of_types(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trt = FakeTensorRt()
    monkeypatch.setattr(build, "import_tensorrt", lambda flavor: trt)
    spec = replace(FIXED, precision="fp16", engine=EngineOptions("classic", dla_core=1))
    tensorrt.export(randomised(Tiny()), spec, tmp_path / "a.engine")
    assert trt.network_flags == 0b01
    assert trt.config.flags == {"TF32", "FP16", "GPU_FALLBACK"}
    assert (trt.config.default_device_type, trt.config.DLA_core) == ("DLA", 1)
    assert trt.parsed == (tmp_path / "model.onnx").read_bytes()


def test_classic_without_a_gpu_leaves_a_kit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trt = FakeTensorRt()

    def refuse(logger: Any) -> Any:
        logger.log(trt.ILogger.Severity.ERROR, "no CUDA-capable device is detected")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(trt, "Builder", refuse)
    monkeypatch.setattr(build, "import_tensorrt", lambda flavor: trt)
    artifact = tensorrt.export(randomised(Tiny()), replace(FIXED, engine=CLASSIC), tmp_path / "a.engine")
    assert artifact.path.name == "model.onnx"
    assert "no CUDA-capable device" in artifact.remarks[0]


def test_an_engine_that_build_sh_made_here_is_used_before_the_one_that_was_exported(tmp_path: Path) -> None:
    exported = tmp_path / "order-tensorrt-fp16.rtx.engine"
    exported.touch()
    assert find_engine(None, exported) == exported
    (tmp_path / "model.engine").touch()
    assert find_engine(None, exported) == tmp_path / "model.engine"
    assert BUILT == BUILT_IN_PLACE


class Device:
    """device.py as far as `find_engine` asks it."""

    class Failure(Exception):
        pass


@pytest.fixture
def built(tmp_path: Path) -> Callable[[str, str], Path]:
    """An engine of that name, as build.sh leaves it for a manifest of that text."""

    def leave(name: str, manifest: str) -> Path:
        (tmp_path / name).touch()
        (tmp_path / f"{name}.from").write_text(hashlib.sha256(manifest.encode()).hexdigest() + "\n")
        return tmp_path / name

    (tmp_path / "manifest.json").write_text("{}")
    return leave


def test_an_engine_of_another_export_is_not_run(built: Callable[[str, str], Path], tmp_path: Path) -> None:
    made = built("model.engine", "{}")
    assert find_engine(Device, tmp_path / "model.onnx") == made
    (tmp_path / "manifest.json").write_text('{"newer": 1}')
    with pytest.raises(Device.Failure, match=r"model\.engine: built from another export .* Run `sh build\.sh` again"):
        find_engine(Device, tmp_path / "model.onnx")


def test_an_engine_of_another_export_hides_none_that_fits(built: Callable[[str, str], Path], tmp_path: Path) -> None:
    built("model.engine", "older")
    exported = tmp_path / "order-tensorrt-fp16.rtx.engine"
    assert find_engine(Device, exported) == exported
    fresh = built("model.rtx.engine", "{}")
    assert find_engine(Device, tmp_path / "model.onnx") == fresh
    built("model.rtx.engine", "older")
    with pytest.raises(Device.Failure, match=r"model\.engine and model\.rtx\.engine: built from another export"):
        find_engine(Device, tmp_path / "model.onnx")


def test_an_engine_that_is_known_to_fit_comes_before_one_made_by_hand(
    built: Callable[[str, str], Path], tmp_path: Path
) -> None:
    by_hand = tmp_path / "model.engine"
    by_hand.touch()
    stale = built("model.rtx.engine", "older")
    assert find_engine(Device, tmp_path / "model.onnx") == by_hand
    assert built("model.rtx.engine", "{}") == stale
    assert find_engine(Device, tmp_path / "model.onnx") == stale


@pytest.fixture
def kit(tmp_path: Path, project_root: Path) -> Callable[..., list[str]]:
    """What build.sh calls trtexec with, for a kit of one precision and a trtexec that knows some options."""

    def build_with(
        precision: str, *, knows: str, name: str = "trtexec", dla: str = "", engine: EngineOptions | None = None
    ) -> list[str]:
        folder = tmp_path / f"{precision}-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        shutil.copy(project_root / "export" / "tensorrt" / "build.sh", folder)
        spec = ExportSpec(precision=precision, engine=engine or EngineOptions())
        tensorrt._write_kit(folder, spec, b"plain", b"legal")
        (folder / "manifest.json").write_text("{}")
        program = folder / name
        program.write_text(f'#!/bin/sh\n[ "$1" = --help ] && echo "{knows}" && exit\nprintf "%s\\n" "$@"\n')
        program.chmod(0o755)
        done = subprocess.run(
            ["sh", str(folder / "build.sh"), "--skipInference"],
            env={"PATH": os.defpath, "TRTEXEC": str(program), "DLA_CORE": dla},
            capture_output=True,
            text=True,
            check=True,
        )
        [made_from] = folder.glob("*.engine.from")
        assert made_from.read_text().strip() == hashlib.sha256(b"{}").hexdigest()
        return done.stdout.splitlines()

    return build_with


SHAPES = ["--minShapes=image:1x3x32x32", "--optShapes=image:1x3x256x256", "--maxShapes=image:1x3x512x512"]


def test_build_sh_calls_trtexec_of_each_age_as_it_wants_it(kit: Callable[..., list[str]]) -> None:
    new, old = "--stronglyTyped --noTF32 --int8", "--int8 --fp16 --noTF32"
    assert kit("fp16", knows=new) == [
        *("--onnx=model.trt.onnx", "--saveEngine=model.engine", "--skipInference", "--stronglyTyped"),
        *SHAPES,
    ]
    assert kit("fp16", knows=old)[:3] == ["--onnx=model.onnx", "--fp16", "--saveEngine=model.engine"]
    assert "--int8" in kit("int8", knows=old)
    assert "--onnx=model.trt.onnx" in kit("int8", knows=old)
    assert "--noTF32" in kit("fp32", knows=new)
    assert "--saveEngine=model.rtx.engine" in kit("fp16", knows=new, name="tensorrt_rtx")
    on_dla = kit("fp16", knows=new, dla="1")
    assert {"--fp16", "--useDLACore=1", "--allowGPUFallback"} < set(on_dla)
    assert "--stronglyTyped" not in on_dla


def test_a_kit_builds_what_was_asked_for_and_the_environment_comes_first(kit: Callable[..., list[str]]) -> None:
    jetson = EngineOptions(flavor="classic", dla_core=1, workspace_mib=256, hardware_compatible=True)
    called = kit("fp16", knows="--memPoolSize", engine=jetson)
    wanted = {"--useDLACore=1", "--memPoolSize=workspace:256", "--hardwareCompatibilityLevel=ampere+"}
    assert wanted < set(called)
    assert "--workspace=256" in kit("fp16", knows="--int8", engine=jetson)
    assert "--useDLACore=0" in kit("fp16", knows="--int8", engine=jetson, dla="0")
    rtx = EngineOptions(compute=("8.6", "12.0"))
    assert "--computeCapabilities=8.6,12.0" in kit("fp16", knows="--computeCapabilities", engine=rtx)
    plain = kit("fp16", knows="--memPoolSize --computeCapabilities")
    assert not [word for word in plain if "workspace" in word or "Capabilities" in word or "Compatib" in word]


@pytest.fixture
def build_sh(tmp_path: Path, project_root: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """build.sh of a kit of one flavor, in `kit`, where the PATH holds such tools; each writes its own name as the
    engine.
    """
    folder, tools = tmp_path / "kit", tmp_path / "tools"
    folder.mkdir()
    shutil.copy(project_root / "export" / "tensorrt" / "build.sh", folder)

    def run(flavor: Any, *names: str) -> subprocess.CompletedProcess[str]:
        tensorrt._write_kit(folder, replace(FIXED, engine=EngineOptions(flavor=flavor)), b"plain", b"legal")
        shutil.rmtree(tools, ignore_errors=True)
        tools.mkdir()
        for name in names:
            program = tools / name
            program.write_text(
                '#!/bin/sh\nfor word; do case $word in --saveEngine=*) echo "${0##*/}" >"${word#*=}" ;; esac; done\n'
            )
            program.chmod(0o755)
        return subprocess.run(
            ["sh", str(folder / "build.sh")],
            env={"PATH": f"{tools}:{os.defpath}"},
            capture_output=True,
            text=True,
            check=True,
        )

    return run


@pytest.mark.parametrize(
    ("flavor", "engine", "tool"),
    [("rtx", "model.rtx.engine", "tensorrt_rtx"), ("classic", "model.engine", "trtexec")],
)
def test_build_sh_takes_the_tool_of_the_kits_flavor_and_tells_where_only_the_other_is_here(
    flavor: str, engine: str, tool: str, build_sh: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "kit" / "manifest.json").write_text("{}")
    done = build_sh(flavor, "trtexec", "tensorrt_rtx")
    assert (tmp_path / "kit" / engine).read_text() == f"{tool}\n"
    assert [p.name for p in (tmp_path / "kit").glob("*.engine")] == [engine]
    assert "note:" not in done.stderr
    (other,) = {"trtexec", "tensorrt_rtx"} - {tool}
    done = build_sh(flavor, other)
    assert f"exported for flavor {flavor}; {other} makes" in done.stderr


def test_what_build_sh_made_last_is_run(
    build_sh: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    kit = tmp_path / "kit"
    (kit / "manifest.json").write_text("older")
    build_sh("classic", "trtexec")
    (kit / "manifest.json").write_text("{}")
    for tool in ("tensorrt_rtx", "trtexec", "tensorrt_rtx"):
        build_sh("rtx", tool)
        assert find_engine(Device, kit / "model.onnx").read_text() == f"{tool}\n"
        assert len(list(kit.glob("*.engine*"))) == 2


def test_build_sh_without_trtexec_tells_where_to_get_it(tmp_path: Path, project_root: Path) -> None:
    shutil.copy(project_root / "export" / "tensorrt" / "build.sh", tmp_path)
    tensorrt._write_kit(tmp_path, FIXED, b"plain", b"plain")
    done = subprocess.run(
        ["sh", str(tmp_path / "build.sh")],
        env={"PATH": os.defpath, "TRTEXEC": "no_such_trtexec"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert "JetPack" in done.stderr
