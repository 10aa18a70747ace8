"""What the TensorRT target exports: kits everywhere, engines where TensorRT-RTX is."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from int8_network import quantized_tiny
from target_contract import WEIGHTS, Tiny, randomised, run_on_device

from lawder_edge.bundle.store import Bundle, open_bundle, read_certificate
from lawder_edge.errors import BadInput, Unavailable
from lawder_edge.exporting.export import export_bundle
from lawder_edge.exporting.outcome import export_verified, outcome_of
from lawder_edge.exporting.request import ExportRequest
from lawder_edge.exporting.verify import logit_sizes, measure, phantom_images
from lawder_edge.runners.tensorrt.engine import NoGpuError
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
