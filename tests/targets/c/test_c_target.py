"""The target `c`: bundles that compile, prove themselves and refuse what does not belong together."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from int8_network import quantized_tiny
from kernel_library import KERNELS, run
from numpy.typing import NDArray
from target_contract import WEIGHTS, Tiny, largest_difference, randomised, run_on_device

import lawder_edge
from lawder_edge.bundle import processing
from lawder_edge.bundle.processing import Float, Samples, to_tensor
from lawder_edge.bundle.store import Bundle, open_bundle, read_certificate
from lawder_edge.errors import BadBundle, BadInput, GateFailed, OutputExists, Unavailable
from lawder_edge.exporting.export import export_bundle
from lawder_edge.exporting.verify import measure, phantom_images
from lawder_edge.graph.reference import dequantize
from lawder_edge.graph.reference import run as run_reference
from lawder_edge.models.deploy import to_deploy
from lawder_edge.quantization.network import QuantizedNetwork
from lawder_edge.quantization.prepare import prepare
from lawder_edge.targets.c import TARGET, export, load
from lawder_edge.targets.c.example import pnm
from lawder_edge.targets.c.runner import CRunner
from lawder_edge.targets.nhwc import to_graph
from lawder_edge.targets.registry import ExportSpec, get_target

SIZE = (64, 96)
INT8 = ExportSpec(size=SIZE, precision="int8")


def quantized(*, channels: int, classes: int) -> QuantizedNetwork:
    """Tiny with ranges learnt from noise."""
    deployed = to_deploy(randomised(Tiny(in_channels=channels, num_classes=classes)))
    learning = prepare(deployed, size=SIZE, channels=channels).train()
    learning(torch.rand(2, channels, *SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    return QuantizedNetwork(deployed, learning.scales(), channels=channels)


def frame(seed: int = 0, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, channels), np.uint8)


@pytest.fixture(scope="module")
def model() -> QuantizedNetwork:
    return quantized_tiny()


@pytest.fixture(scope="module")
def exported(model: QuantizedNetwork, tmp_path_factory: pytest.TempPathFactory, needs_gcc: None) -> Bundle:
    out = tmp_path_factory.mktemp("bundle") / "tiny"
    return export_bundle(
        model, target="c", spec=INT8, weights_info=WEIGHTS, out=out,
        check=lambda made: measure(made, model, phantom_images(3)),
    )  # fmt: skip


@pytest.fixture(scope="module")
def runner(exported: Bundle) -> CRunner:
    loaded = lawder_edge.load(exported.path)
    assert isinstance(loaded, CRunner)
    return loaded


@pytest.fixture
def copied(exported: Bundle, tmp_path: Path) -> Path:
    return shutil.copytree(exported.path, tmp_path / "copied")


def test_the_bundle_holds_c_files_kernels_runner_and_golden_frames(exported: Bundle) -> None:
    names = {entry.name for entry in exported.manifest.files}
    assert {
        "tests_tiny.c", "tests_tiny.h", "network.h", "main.c", "Makefile", "run.py", "network.py", "device.py",
        "host.py", "processing.py", "golden/00.frame.png", "golden/01.mask.png",
        "example.picture.pnm", "example.mask.pgm", "memory.csv",
        *(path.name for path in KERNELS.iterdir()),
    } == {n for n in names if not n.startswith("golden/")} | {"golden/00.frame.png", "golden/01.mask.png"}  # fmt: skip
    for path in KERNELS.iterdir():
        assert (exported.path / path.name).read_bytes() == path.read_bytes()
    assert (exported.path / "processing.py").read_bytes() == Path(processing.__file__).read_bytes()


def test_the_manifest_tells_what_was_asked_for(exported: Bundle) -> None:
    manifest = exported.manifest
    assert (manifest.target, manifest.precision, manifest.input.layout) == ("c", "int8", TARGET.layout)
    assert (manifest.model_file, manifest.input.height, manifest.input.width) == ("tests_tiny.c", *SIZE)
    assert not manifest.input.dynamic
    assert manifest.quantization is not None
    assert "half away from zero" in manifest.quantization.rounding
    assert {"torch", "lawder-edge"} <= {tool.name for tool in manifest.tools}


def test_version_and_hash_in_the_header_are_the_manifests(exported: Bundle, runner: CRunner) -> None:
    header = (exported.path / "tests_tiny.h").read_text()
    assert f'LW_TESTS_TINY_SHA256 "{exported.manifest.model_entry.sha256}"' in header
    version = next(tool.version for tool in exported.manifest.tools if tool.name == "lawder-edge")
    assert f'LW_TESTS_TINY_VERSION "{version}"' in header
    assert runner.network.sha256 == exported.manifest.model_entry.sha256


def test_the_runner_tells_the_arena_of_the_header(exported: Bundle, runner: CRunner) -> None:
    assert f"#define LW_TESTS_TINY_ARENA_BYTES {runner.arena_bytes}\n" in (exported.path / "tests_tiny.h").read_text()


def test_it_is_certified_against_the_quantised_network(exported: Bundle) -> None:
    certificate = read_certificate(exported)
    assert certificate is not None
    assert certificate.status == "certified", certificate.reason
    assert certificate.artifact_sha256 == exported.manifest.model_entry.sha256


def test_logits_are_the_integer_references(runner: CRunner, model: QuantizedNetwork) -> None:
    graph = to_graph(model.program(SIZE), INT8)
    output = graph.tensor("logits")
    for seed in range(4):
        q = run_reference(graph, [(frame(seed) ^ 0x80).view(np.int8)[None]])[0]
        expected = dequantize(q, output).transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(runner.infer(to_tensor(frame(seed), SIZE)), expected)


def test_bytes_of_the_mask_cut_at_the_threshold_are_the_predicted_mask(exported: Bundle, runner: CRunner) -> None:
    cut = next(
        int(line.split()[2])
        for line in (exported.path / "tests_tiny.h").read_text().splitlines()
        if line.startswith("#define LW_TESTS_TINY_THRESHOLD ")
    )
    for seed in range(4):
        found = runner.network.mask(frame(seed)) >= cut
        assert 0 < found.mean() < 1
        np.testing.assert_array_equal(found, runner.predict_mask(frame(seed)))


def test_infer_takes_the_manifests_size_alone(runner: CRunner) -> None:
    for shape in ((1, 3, 64, 64), (2, 3, *SIZE), (1, 1, *SIZE)):
        with pytest.raises(BadInput, match="64, 96"):
            runner.infer(np.zeros(shape, np.float32))


@pytest.mark.parametrize(("channels", "classes"), [(1, 3), (3, 2), (1, 1)])
def test_grey_pictures_and_several_classes(channels: int, classes: int, tmp_path: Path, needs_gcc: None) -> None:
    net = quantized(channels=channels, classes=classes)
    spec = ExportSpec(size=SIZE, precision="int8", channels=channels, classes=classes)
    bundle = export_bundle(net, target="c", spec=spec, weights_info=WEIGHTS, out=tmp_path / "net")
    loaded = lawder_edge.load(bundle.path)
    assert isinstance(loaded, CRunner)
    # Noise is off the grid of bytes, which the C takes: half a step of the input, through the network.
    assert largest_difference(loaded, net, (1, channels, *SIZE)) <= 1.5
    picture = frame(channels=channels)
    logits = loaded.infer(to_tensor(picture, SIZE, channels=channels))
    if classes > 1:
        np.testing.assert_array_equal(loaded.network.mask(picture), logits[0].argmax(0))
    run(["make", "check", f"OUT={tmp_path / 'made'}"], cwd=bundle.path)


def test_make_check_compares_the_example_byte_for_byte(copied: Path, tmp_path: Path) -> None:
    out = f"OUT={tmp_path / 'made'}"
    assert "byte for byte" in run(["make", "check", out], cwd=copied).stdout
    data = bytearray((copied / "example.mask.pgm").read_bytes())
    data[-1] ^= 1
    (copied / "example.mask.pgm").write_bytes(bytes(data))
    assert subprocess.run(["make", "check", out], cwd=copied, capture_output=True, check=False).returncode != 0


def test_the_example_program_refuses_other_files(copied: Path, tmp_path: Path) -> None:
    run(["make", f"OUT={tmp_path}"], cwd=copied)
    good = (copied / "example.picture.pnm").read_bytes()
    commented = good.replace(b"P6\n", b"P6\n# a comment\n", 1)
    cases = {
        "missing": (None, "cannot be opened"),
        "grey": (pnm(frame()[:, :, :1]), "no binary PPM (P6)"),
        "small": (pnm(frame()[:32]), "not of the network's size"),
        "deep": (good.replace(b"\n255\n", b"\n65535\n", 1), "not of 8 bits"),
        "short": (good[:-1], "ends too early"),
        "empty": (b"", "no binary PPM (P6)"),
        "header": (b"P6\n", "not of the network's size"),
        "commented": (commented, ""),
    }
    for name, (data, message) in cases.items():
        picture = tmp_path / f"{name}.ppm"
        if data is not None:
            picture.write_bytes(data)
        done = subprocess.run(
            [str(tmp_path / "segment"), str(picture), str(tmp_path / "out.pgm")], capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == (2 if message else 0), name
        assert message in done.stderr, name
    assert (tmp_path / "out.pgm").read_bytes() == (copied / "example.mask.pgm").read_bytes()
    done = subprocess.run([str(tmp_path / "segment")], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage" in done.stderr


def test_the_runner_reproduces_the_golden_frames_without_this_package(copied: Path) -> None:
    done = run_on_device(copied, "--check", environment={"PATH": os.environ["PATH"]})
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert open_bundle(copied).path == copied


def test_the_runner_tells_that_the_compiler_is_missing(copied: Path) -> None:
    done = run_on_device(copied, "--check", environment={"CC": "no-such-compiler"})
    assert done.returncode == 4
    assert "the compiler 'no-such-compiler' that CC names is missing here: apt-get install gcc libc6-dev" in done.stderr


def test_without_a_compiler_loading_tells_what_to_install(
    exported: Bundle, model: QuantizedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match="a C compiler is missing here: apt-get install gcc") as caught:
        load(exported)
    assert caught.value.exit_code == 4
    certificate = measure(exported, model, phantom_images(1))
    assert certificate.status == "unverified-here"
    assert "apt-get install gcc" in certificate.reason


def test_a_certificate_of_both_comparisons_asks_the_artifact_once_for_each_image(
    exported: Bundle, model: QuantizedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    infer = CRunner.infer

    def counted(self: CRunner, tensor: Float) -> Samples:
        asked.append(tensor.tobytes())
        return infer(self, tensor)

    monkeypatch.setattr(CRunner, "infer", counted)
    certificate = measure(exported, model, phantom_images(3))
    assert certificate.status == "certified"
    assert len(certificate.images) == len(asked) == len(set(asked)) == 3


def rewritten(folder: Path, name: str, data: bytes) -> Bundle:
    """The bundle with other bytes in one file, and a manifest that says so."""
    text = (folder / "manifest.json").read_text()
    entry = next(f for f in open_bundle(folder).manifest.files if f.name == name)
    (folder / name).write_bytes(data)
    text = text.replace(entry.sha256, hashlib.sha256(data).hexdigest())
    (folder / "manifest.json").write_text(text.replace(f": {entry.size_bytes}", f": {len(data)}"))
    (folder / "certificate.json").unlink()
    return open_bundle(folder)


def test_a_source_that_does_not_compile_is_told(copied: Path) -> None:
    with pytest.raises(BadBundle, match=r"tests_tiny\.c: .* does not compile tests_tiny\.c: .*error"):
        load(rewritten(copied, "tests_tiny.c", b"this is no C\n"))


def test_a_header_of_another_export_is_refused(copied: Path) -> None:
    header = (copied / "tests_tiny.h").read_text()
    other = header.replace(open_bundle(copied).manifest.model_entry.sha256, "0" * 64)
    with pytest.raises(BadBundle, match="its header is of a file with sha256 000000"):
        load(rewritten(copied, "tests_tiny.h", other.encode()))
    with pytest.raises(BadBundle, match=r"tests_tiny\.h is not the header"):
        load(rewritten_again(copied, "tests_tiny.h", header.replace("_CLASSES", "_KLASSES").encode()))


def rewritten_again(folder: Path, name: str, data: bytes) -> Bundle:
    (folder / "certificate.json").write_text("{}")
    return rewritten(folder, name, data)


def test_kernels_of_another_release_do_not_compile(copied: Path) -> None:
    text = (copied / "lawder_kernels.h").read_text()
    other, count = re.subn(r"(KERNELS_VERSION) \d+", r"\1 999", text)
    assert count == 1
    with pytest.raises(BadBundle, match="of another release"):
        load(rewritten(copied, "lawder_kernels.h", other.encode()))


def test_a_changed_file_is_refused(copied: Path) -> None:
    (copied / "lawder_matrix.c").write_text("")
    with pytest.raises(BadBundle, match=r"lawder_matrix\.c: changed"):
        lawder_edge.load(copied)


def test_an_artifact_of_other_weights_is_rejected_and_set_aside(model: QuantizedNetwork, tmp_path: Path) -> None:
    other = quantized(channels=3, classes=1)
    other.deployed.head.bias.data += 3  # type: ignore[union-attr, operator]
    with pytest.raises(GateFailed, match="mask Dice"):
        export_bundle(
            other, target="c", spec=INT8, weights_info=WEIGHTS, out=tmp_path / "tiny",
            check=lambda made: measure(made, model, phantom_images(2)),
        )  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.rejected"]


def test_the_same_network_gives_the_same_bytes(exported: Bundle, model: QuantizedNetwork, tmp_path: Path) -> None:
    again = export_bundle(model, target="c", spec=INT8, weights_info=WEIGHTS, out=tmp_path / "again")
    assert again.manifest == exported.manifest


def test_no_file_of_the_bundle_holds_a_machine_path(exported: Bundle, project_root: Path) -> None:
    needles = [str(p).encode() for p in (project_root, Path.home(), sys.prefix, exported.path.parent, "/home/someone")]
    for path in exported.path.rglob("*"):
        if path.is_file():
            assert not [n for n in needles if n in path.read_bytes()], path.name


def test_the_threshold_in_the_source_is_that_of_the_spec(model: QuantizedNetwork, tmp_path: Path) -> None:
    cuts = []
    for threshold in (0.5, 0.9):
        spec = dataclasses.replace(INT8, name="tiny", threshold=threshold)
        export(model.program(SIZE), spec, tmp_path / "tiny.c")
        header = (tmp_path / "tiny.h").read_text()
        assert f"exactly where the probability reaches {threshold}\n" in header
        cuts.append(int(re.findall(r"#define LW_TINY_THRESHOLD (\d+)", header)[0]))
    assert cuts[0] < cuts[1]


def test_its_drawing_is_of_ram_over_time_and_lies_beside_the_bundle(exported: Bundle) -> None:
    target = get_target("c")
    assert target.drawing is not None
    assert target.drawing.shows == "RAM over time"
    assert target.draw(exported).startswith(b"\x89PNG")
    assert target.drawing_of(Path("made/c")) == Path("made/c.ram.png")
    assert get_target("onnx").drawing_of(Path("made/onnx")) is None


def test_a_bundle_is_not_overwritten_unasked(copied: Path, model: QuantizedNetwork) -> None:
    with pytest.raises(OutputExists):
        export_bundle(model, target="c", spec=INT8, weights_info=WEIGHTS, out=copied)


def test_the_compilers_of_the_record_are_those_that_the_runner_looks_for() -> None:
    from lawder_edge.runners.c import host

    assert TARGET.programs == host.COMPILERS
    assert TARGET.programs_install in host.INSTALL


class TestRefusals:
    def test_floats_are_no_precision_of_this_target(self, model: QuantizedNetwork, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match=r"no precision 'fp32'; it has: int8\."):
            TARGET.export(model.program(SIZE), ExportSpec(size=SIZE), tmp_path / "a.c")
        assert TARGET.usual_precision == "int8"

    def test_weights_that_are_not_quantised_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="lawder-edge qat"):
            export(randomised(Tiny()), INT8, tmp_path / "a.c")
        with pytest.raises(BadInput, match="lawder-edge qat"):
            export_bundle(randomised(Tiny()), target="c", spec=INT8, weights_info=WEIGHTS, out=tmp_path / "a")
        assert list(tmp_path.iterdir()) == []

    def test_a_file_of_any_size_or_batch_is_refused(self, model: QuantizedNetwork, tmp_path: Path) -> None:
        program = model.program(SIZE)
        with pytest.raises(BadInput, match="of any size was asked for"):
            export(program, ExportSpec(precision="int8"), tmp_path / "a.c")
        with pytest.raises(BadInput, match="for any batch was asked for"):
            export(program, ExportSpec(size=SIZE, precision="int8", dynamic_batch=True), tmp_path / "a.c")
        with pytest.raises(BadInput, match=r"wanted \(1, 64, 96, 3\) to \(1, 64, 96, 5\)"):
            export(program, ExportSpec(size=SIZE, precision="int8", classes=5), tmp_path / "a.c")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["double", "lawder_matrix", "main", "network"])
    def test_a_network_is_not_called_as_c_or_a_file_of_the_bundle_is(
        self, name: str, model: QuantizedNetwork, tmp_path: Path
    ) -> None:
        with pytest.raises(BadInput, match="all it otherwise"):
            export(model.program(SIZE), ExportSpec(name=name, size=SIZE, precision="int8"), tmp_path / "a.c")
        assert list(tmp_path.iterdir()) == []


def test_the_certificate_holds_it_to_the_integer_reference_bit_for_bit(
    exported: Bundle, model: QuantizedNetwork
) -> None:
    certificate = read_certificate(exported)
    assert certificate is not None
    assert certificate.status == "certified"
    assert "against the integer reference; beside PyTorch mask Dice 0." in certificate.reason
    assert certificate.agreement is not None
    assert certificate.agreement.mask_dice.mean < 1
    found = {gate.name.split(" at ")[0]: (gate.limit, gate.value) for gate in certificate.gates}
    assert found["largest logit difference"] == (0.0, 0.0)
    assert found["share of equal pixels"] == (1.0, 1.0)
    # Another network's integers are not these.
    with torch.no_grad():
        other = QuantizedNetwork(to_deploy(model.deployed), model.scales, channels=3)
        next(iter(other.deployed.parameters())).mul_(-1)
    assert measure(exported, other, phantom_images(1)).status == "rejected"


def test_networks_of_other_names_are_linked_into_one_program(
    model: QuantizedNetwork, tmp_path: Path, needs_gcc: None
) -> None:
    sources = []
    for name in ("near", "Far-64"):
        made = export_bundle(model, target="c", spec=INT8, weights_info=WEIGHTS, out=tmp_path / name, name=name)
        sources.append(made.model_path)
    assert [path.name for path in sources] == ["near.c", "far_64.c"]
    (tmp_path / "main.c").write_text(
        '#include "near.h"\n#include "far_64.h"\n'
        "int main(void) { return lw_near_arena_bytes() == LW_NEAR_ARENA_BYTES &&\n"
        "    lw_far_64_arena_bytes() == LW_FAR_64_ARENA_BYTES ? 0 : 1; }\n"
    )
    program, folders = tmp_path / "both", [f"-I{path.parent}" for path in sources]
    files = [tmp_path / "main.c", *sources, *sorted(KERNELS.glob("*.c"))]
    run(["gcc", "-std=c99", *folders, *map(str, files), "-o", str(program)])
    run([str(program)])


@pytest.mark.parametrize("name", ["--", "64"])
def test_a_name_that_names_nothing_in_c_is_refused(name: str, model: QuantizedNetwork, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="name"):
        export_bundle(model, target="c", spec=INT8, weights_info=WEIGHTS, out=tmp_path / "tiny", name=name)
    assert list(tmp_path.iterdir()) == []
