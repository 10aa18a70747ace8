from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import openvino
import pytest
from edge_contract import EdgeContract
from int8_network import quantized_tiny
from target_contract import WEIGHTS, BatchContract, Tiny, largest_difference, randomised, run_on_device
from torch import nn

from lawder_edge.bundle.store import Bundle, open_bundle
from lawder_edge.errors import BadBundle, BadInput
from lawder_edge.exporting.export import export_bundle
from lawder_edge.exporting.verify import measure, phantom_images
from lawder_edge.targets.openvino import OpenVinoRunner, export
from lawder_edge.targets.registry import ExportSpec, get_target

FIXED = ExportSpec(size=(64, 96))


def notes_of(path: Path) -> dict[str, str]:
    """What rt_info of an .xml says of us."""
    section = ElementTree.parse(path).getroot().find("rt_info/lawder_edge")
    assert section is not None
    return {item.tag: item.attrib["value"] for item in section}


class TestOpenVino(EdgeContract, BatchContract):
    target = "openvino"

    def stored_type(self, bundle: Bundle) -> str:
        network = openvino.Core().read_model(str(bundle.model_path))
        return {"u8": "uint8", "i8": "int8"}[network.input().element_type.get_type_name()]

    def test_a_signal_after_networks_came_and_went_is_told_to_python(self, exported: Path) -> None:
        code = (
            "import gc, os, signal, sys\n"
            "from pathlib import Path\n"
            "from lawder_edge.bundle.store import open_bundle\n"
            "from lawder_edge.targets.openvino import load\n"
            "told = []\n"
            "signal.signal(signal.SIGINT, lambda number, frame: told.append(number))\n"
            "for _ in range(3):\n"
            "    runners = [load(open_bundle(Path(sys.argv[1]))) for _ in range(2)]\n"
            "    del runners\n"
            "    gc.collect()\n"
            "os.kill(os.getpid(), signal.SIGINT)\n"
            "print(told)\n"
        )
        done = subprocess.run([sys.executable, "-c", code, str(exported)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.strip()) == (0, "[2]"), done.stderr

    def test_the_two_files_alone_tell_how_to_use_them(self, exported: Path) -> None:
        path = open_bundle(exported).model_path
        weights = path.with_suffix(".bin").read_bytes()
        assert notes_of(path) == {
            "channels": "RGB",
            "input_range": "(rgb-128)/128",
            "layout": "NCHW",
            "name": "tests_Tiny-openvino-fp32",
            "output": "logits",
            "precision": "fp32",
            "size": "any multiples of 32",
            "threshold": "0.4",
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
        }
        network = openvino.Core().read_model(str(path))
        assert network.get_rt_info(["lawder_edge", "threshold"]).astype(str) == "0.4"
        assert [v.any_name for v in (*network.inputs, *network.outputs)] == ["image", "logits"]
        assert str(network.input().partial_shape) == "[?,3,?,?]"
        assert network.get_parameters()[0].get_layout() == openvino.Layout("NCHW")

    def test_the_runtimes_release_is_in_the_manifest_and_not_in_the_file(self, exported: Path) -> None:
        bundle = open_bundle(exported)
        tool = next(t for t in bundle.manifest.tools if t.name == "openvino")
        assert tool.version == openvino.__version__.split("-")[0]
        assert tool.version.encode() not in bundle.model_path.read_bytes()

    def test_weights_are_listed_and_a_change_of_theirs_is_refused(self, copied: Path) -> None:
        bundle = open_bundle(copied)
        path = bundle.model_path.with_suffix(".bin")
        assert path.name in {f.name for f in bundle.manifest.files}
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
        with pytest.raises(BadBundle, match=path.name):
            open_bundle(copied)

    def test_float32_is_computed_in_float32_whatever_the_processor_prefers(self, runner: OpenVinoRunner) -> None:
        layers = [layer for layer in runner.layer_precisions() if layer.kind == "Convolution"]
        assert layers
        assert {layer.precision for layer in layers} == {"f32"}

    def test_the_runner_tells_that_openvino_is_missing(self, copied: Path) -> None:
        done = run_on_device(copied, "--check", absent=(*self.absent, "openvino"))
        assert done.returncode == 4
        assert "openvino is missing: pip install numpy openvino pillow" in done.stderr

    def test_the_runner_tells_what_openvino_refuses(self, copied: Path) -> None:
        manifest = open_bundle(copied).manifest
        path = copied / manifest.model_file
        entry = manifest.model_entry
        path.write_bytes(b"<net/>")
        text = manifest.to_json().replace(entry.sha256, hashlib.sha256(b"<net/>").hexdigest())
        (copied / "manifest.json").write_text(text)
        done = run_on_device(copied, "--check")
        assert done.returncode == 2
        assert f"{path.name}: OpenVINO" in done.stderr


def test_other_weights_give_another_hash_of_the_model_file(tmp_path: Path) -> None:
    first, second = (export(randomised(Tiny(), seed=n), FIXED, tmp_path / f"{n}.xml") for n in (0, 1))
    assert first.sha256 != second.sha256


class TestHalfPrecision:
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> nn.Module:
        return randomised(Tiny())

    @pytest.fixture(scope="class")
    @classmethod
    def bundle(cls, model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
        out = tmp_path_factory.mktemp("half") / "tiny"
        spec = ExportSpec(precision="fp16")
        return export_bundle(model, target="openvino", spec=spec, weights_info=WEIGHTS, out=out)

    def test_weights_take_half_the_room(self, bundle: Bundle, model: nn.Module, tmp_path: Path) -> None:
        export(model, ExportSpec(), tmp_path / "full.xml")
        full, half = (p.with_suffix(".bin").stat().st_size for p in (tmp_path / "full.xml", bundle.model_path))
        assert 0.5 * full <= half < 0.7 * full

    def test_it_is_certified_at_every_size_under_limits_of_its_own(self, bundle: Bundle, model: nn.Module) -> None:
        certificate = measure(bundle, model, phantom_images(4))
        assert certificate.status == "certified", certificate.reason
        assert certificate.agreement is not None
        # Rounded weights, or the file would be float32 under another name.
        assert max(d.largest for d in certificate.agreement.logit_differences) > 1e-4
        assert len([g for g in certificate.gates if "equal pixels" in g.name]) == 4

    def test_it_computes_in_float32(self, bundle: Bundle, model: nn.Module) -> None:
        assert largest_difference(OpenVinoRunner(bundle), model, (1, 3, 64, 96)) < 0.05


class TestInt8:
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> nn.Module:
        return quantized_tiny()

    @pytest.fixture(scope="class")
    @classmethod
    def bundle(cls, model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
        out = tmp_path_factory.mktemp("int8") / "tiny"
        spec = replace(FIXED, precision="int8")
        return export_bundle(model, target="openvino", spec=spec, weights_info=WEIGHTS, out=out)

    def test_convolutions_run_in_uint8_by_the_runtimes_own_report(self, bundle: Bundle) -> None:
        layers = [layer for layer in OpenVinoRunner(bundle).layer_precisions() if layer.kind == "Convolution"]
        assert {layer.precision for layer in layers} == {"u8"}

    def test_the_manifest_says_that_activations_are_uint8(self, bundle: Bundle) -> None:
        assert bundle.manifest.quantization is not None
        assert bundle.manifest.quantization.activations.startswith("uint8, asymmetric")

    def test_its_size_is_that_of_network_and_weights(self, bundle: Bundle) -> None:
        files = (bundle.model_path, bundle.model_path.with_suffix(".bin"))
        assert get_target("openvino").size_bytes(bundle.manifest) == sum(file.stat().st_size for file in files)

    def test_weights_are_stored_as_int8(self, bundle: Bundle) -> None:
        kinds = [
            data.attrib["element_type"]
            for layer in ElementTree.parse(bundle.model_path).getroot().iter("layer")
            for data in layer.iter("data")
            if layer.attrib["type"] == "Const" and data.attrib["shape"].count(",") == 3
        ]
        assert "i8" in kinds

    def test_it_is_certified_against_pytorchs_int8(self, bundle: Bundle, model: nn.Module) -> None:
        certificate = measure(bundle, model, phantom_images(4))
        assert certificate.status == "certified", certificate.reason

    def test_the_runner_passes_its_check(self, bundle: Bundle, tmp_path: Path) -> None:
        folder = shutil.copytree(bundle.path, tmp_path / "copied")
        done = run_on_device(folder, "--check")
        assert done.returncode == 0, done.stderr
        assert open_bundle(folder).path == folder

    def test_a_float_network_is_refused_with_what_to_run(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="lawder-edge qat"):
            export(randomised(Tiny()), replace(FIXED, precision="int8"), tmp_path / "a.xml")
        assert list(tmp_path.iterdir()) == []


def test_a_batch_of_int8_frames_gives_what_they_give_one_by_one(tmp_path: Path) -> None:
    spec = replace(FIXED, precision="int8", dynamic_batch=True)
    bundle = export_bundle(quantized_tiny(), target="openvino", spec=spec, weights_info=WEIGHTS, out=tmp_path / "tiny")
    runner = OpenVinoRunner(bundle, threads=1)
    tensor = np.random.default_rng(0).uniform(-1, 1, (3, 3, 64, 96)).astype(np.float32)
    found = runner.infer(tensor)
    np.testing.assert_allclose(found, np.concatenate([runner.infer(t[None]) for t in tensor]), atol=1e-5)
