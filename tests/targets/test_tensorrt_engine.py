"""Engines as they are run and built by the classic TensorRT, with what stands in for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from target_contract import WEIGHTS, Tiny, randomised
from tensorrt_fake import FakeMemory, FakeTensorRt

from lawder_edge.bundle.manifest import Manifest
from lawder_edge.errors import BadBundle, BadInput
from lawder_edge.exporting.export import export_bundle
from lawder_edge.runners.tensorrt.engine import Engine, EngineError, WrongSizeError
from lawder_edge.targets import tensorrt
from lawder_edge.targets.engine import EngineOptions
from lawder_edge.targets.registry import ExportSpec
from lawder_edge.targets.tensorrt import build
from lawder_edge.targets.tensorrt.runner import TensorRtRunner

FIXED = ExportSpec(size=(64, 96))
CLASSIC = EngineOptions(flavor="classic")


def test_an_engine_gives_its_output_at_every_size_and_keeps_its_buffers() -> None:
    memory = FakeMemory()
    engine = Engine(b"engine", FakeTensorRt(memory), memory)
    rng = np.random.default_rng(0)
    for shape in ((1, 3, 32, 32), (2, 3, 96, 64), (1, 3, 32, 64), (2, 3, 96, 64)):
        tensor = rng.uniform(-1, 1, shape).astype(np.float32)
        np.testing.assert_array_equal(engine(tensor), 2 * tensor[:, :1])
    assert memory.allocated == 4
    assert len(memory.buffers) == 2


def test_an_engine_is_read_at_the_name_of_what_it_gives() -> None:
    memory = FakeMemory()
    engine = Engine(b"engine", FakeTensorRt(memory), memory, output="probabilities")
    tensor = np.ones((1, 3, 32, 32), np.float32)
    np.testing.assert_array_equal(engine(tensor), 2 * tensor[:, :1])
    assert set(engine._context.addresses) == {"image", "probabilities"}


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
