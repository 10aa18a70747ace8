"""What every target promises. A target's test file inherits `TargetContract`, sets `target`, and adds its own tests."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lawder_edge
from lawder_edge.bundle import processing
from lawder_edge.bundle.certificate import Certificate
from lawder_edge.bundle.manifest import Manifest, WeightsInfo
from lawder_edge.bundle.runner import Runner
from lawder_edge.bundle.store import Bundle, open_bundle, read_certificate
from lawder_edge.errors import BadBundle, BadInput, GateFailed, OutputExists
from lawder_edge.evaluation.evaluate import EvalPair
from lawder_edge.exporting.export import export_bundle
from lawder_edge.exporting.verify import VerifyImages, logit_sizes, measure, phantom_images, verify_bundle
from lawder_edge.models.attention import attend
from lawder_edge.models.blocks import channel_shuffle, upsample
from lawder_edge.targets.registry import ExportSpec, get_target
from lawder_edge.weights import TorchRunner

WEIGHTS = WeightsInfo(
    model="tests:Tiny",
    config_json='{"data": "/home/someone/images", "lr": 0.001}',
    sha256="a" * 64,
    splits=("kvasir:900",),
    train_ids_sha256="",
    threshold=0.4,
)
# What a device has: the packages of the runner, and none of these.
ABSENT = ("torch", "lawder_edge", "cv2", "scipy", "onnx")


class Tiny(nn.Module):
    """The parts of ORDER that exports get wrong, small: shuffle, tokens by a stride, mean over tokens, two poolings."""

    def __init__(self, in_channels: int = 3, num_classes: int = 1) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Conv2d(8, num_classes, 1)
        self.unused = nn.Conv2d(8, 64, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = channel_shuffle(F.relu6(self.norm(self.stem(x))), 2)
        y = y * torch.sigmoid(y.mean((2, 3), keepdim=True) + y.amax((2, 3), keepdim=True))
        cells = F.max_pool2d(F.avg_pool2d(y, 16), 2)
        b, _, h, w = cells.shape
        tokens = cells.flatten(2).transpose(1, 2)
        mixed = attend(tokens @ tokens.transpose(1, 2), tokens, "sigmoid", nn.Identity())
        logits: Tensor = self.head(y + upsample(mixed.transpose(1, 2).reshape(b, -1, h, w), 32))
        return logits


def randomised(model: nn.Module, *, seed: int = 0, gain: float = 1.0) -> nn.Module:
    """Weights and BatchNorm statistics such that nothing folds away, and logits of both signs.

    `gain` scales the convolutions: at 1 ORDER's random attention is so steep that PyTorch's own float32 rounding moves
    logits by 2e-3; at 0.7 by 1e-5, as trained weights do.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.5, 1.5),
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.2, 0.2),
            ):
                values.uniform_(low, high, generator=generator)  # type: ignore[union-attr]
        elif isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, gain * (2 / fan_in) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.uniform_(-0.1, 0.1, generator=generator)
    return centred(model.eval())


def centred(model: nn.Module) -> nn.Module:
    """Shift the last layer's bias and scale so that logits spread evenly around 0 on a phantom frame."""
    head = model.head
    assert isinstance(head, nn.Conv2d)
    assert head.bias is not None
    frame = next(phantom_images(1).read()).frame
    with torch.no_grad():
        logits = model(torch.from_numpy(processing.to_tensor(frame, (256, 256), channels=in_channels(model))))
        scale = 4 / logits.std()
        head.weight *= scale
        head.bias -= logits.mean((0, 2, 3))
        head.bias *= scale
    return model


def images_in_memory(source: str, *pairs: EvalPair) -> VerifyImages:
    return VerifyImages(source, len(pairs), lambda: iter(pairs))


def in_channels(model: nn.Module) -> int:
    return next(m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d))


def largest_difference(runner: Runner, model: nn.Module, shape: tuple[int, int, int, int]) -> float:
    """Of logits, on uniform noise of `shape` (B, C, H, W) in [-1, 1)."""
    tensor = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(tensor)).numpy()
    found = runner.infer(tensor)
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max())


def run_on_device(
    bundle: Path, *arguments: str, absent: tuple[str, ...] = ABSENT, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """run.py in an interpreter that has none of `absent`, started in the bundle's folder with a bare environment."""
    code = f"import runpy, sys; sys.modules.update(dict.fromkeys({absent!r})); sys.argv[0] = 'run.py'; "
    code += "runpy.run_path('run.py', run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-I", "-c", code, *arguments],
        cwd=bundle,
        capture_output=True,
        text=True,
        check=False,
        env=environment or {},
    )


class TargetContract:
    """Inherit, set `target`, and keep `tolerance` at what the target's own arithmetic needs."""

    target: str
    tolerance = 1e-4
    absent = ABSENT
    # Whether one file takes any size and batch; if not, the bundle of these tests is of 256 x 256.
    any_size = True

    @classmethod
    def full_spec(cls) -> ExportSpec:
        return ExportSpec(dynamic_batch=True) if cls.any_size else ExportSpec(size=(256, 256))

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> nn.Module:
        return randomised(Tiny())

    @pytest.fixture(scope="class")
    @classmethod
    def exported(cls, model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """One certified bundle, for any size and batch where the target can. Tests that change it copy it first."""
        out = tmp_path_factory.mktemp("bundle") / "tiny"
        card = out.with_name("card.md")
        card.write_text("# Tiny\n")

        def check(bundle: Bundle) -> Certificate:
            return measure(bundle, model, phantom_images(2))

        export_bundle(
            model,
            target=cls.target,
            spec=cls.full_spec(),
            weights_info=WEIGHTS,
            out=out,
            model_card=card,
            check=check,
        )
        return out

    @pytest.fixture(scope="class")
    @classmethod
    def runner(cls, exported: Path) -> Runner:
        return lawder_edge.load(exported, threads=1)

    @pytest.fixture
    def copied(self, exported: Path, tmp_path: Path) -> Path:
        return shutil.copytree(exported, tmp_path / "copied")

    def spec(self, **changes: object) -> ExportSpec:
        return ExportSpec(size=(64, 96), **changes)  # type: ignore[arg-type]

    def export_small(self, model: nn.Module, out: Path, **changes: object) -> Bundle:
        """At 64 x 96, without a certificate: fast."""
        return export_bundle(model, target=self.target, spec=self.spec(**changes), weights_info=WEIGHTS, out=out)

    def test_the_bundle_opens_and_its_manifest_tells_what_was_asked_for(self, exported: Path) -> None:
        manifest = open_bundle(exported).manifest
        record = get_target(self.target)
        assert (manifest.target, manifest.precision, manifest.input.layout) == (self.target, "fp32", record.layout)
        assert manifest.model_file.endswith(record.suffix)
        assert (manifest.input.height, manifest.input.width, manifest.input.dynamic) == (256, 256, self.any_size)
        assert (manifest.threshold, manifest.weights.threshold, manifest.model) == (0.4, 0.4, "tests:Tiny")
        assert manifest.quantization is None
        assert {"torch"} <= {tool.name for tool in manifest.tools}
        assert (exported / "MODEL_CARD.md").read_text() == "# Tiny\n"

    def test_no_file_of_the_bundle_holds_a_machine_path(self, exported: Path, project_root: Path) -> None:
        needles = [str(p).encode() for p in (project_root, Path.home(), sys.prefix, exported.parent, "/home/someone")]
        for path in exported.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                assert not [n for n in needles if n in data], path.name

    def test_logits_match_pytorch_at_every_size_of_one_file(self, exported: Path, model: nn.Module) -> None:
        runner = lawder_edge.load(exported)
        sizes = [*logit_sizes(open_bundle(exported).manifest.input)]
        if self.any_size:
            sizes += [(32, 32), (64, 32)]
            assert {(128, 128), (256, 256), (352, 352)} < set(sizes)
        differences = {size: largest_difference(runner, model, (1, 3, *size)) for size in sizes}
        assert max(differences.values()) <= self.tolerance, differences

    def test_a_batch_is_refused_where_one_image_was_asked_for(self, model: nn.Module, tmp_path: Path) -> None:
        runner = lawder_edge.load(self.export_small(model, tmp_path / "one").path)
        with pytest.raises(BadInput, match="batch 1"):
            runner.infer(np.zeros((3, 3, 64, 96), np.float32))

    def test_a_faithful_artifact_is_certified_for_its_own_hash(self, exported: Path) -> None:
        bundle = open_bundle(exported)
        certificate = read_certificate(bundle)
        assert certificate is not None
        assert certificate.status == "certified"
        assert certificate.artifact_sha256 == bundle.manifest.model_entry.sha256
        agreement = certificate.agreement
        assert agreement is not None
        others = [(128, 128, 1), (352, 352, 1), (192, 320, 1), (256, 256, 2)] if self.any_size else []
        assert [(d.height, d.width, d.batch) for d in agreement.logit_differences] == [(256, 256, 1), *others]
        assert "no mask holds" not in certificate.reason

    def test_predict_and_pytorch_draw_the_same_mask_on_frames_of_any_size(
        self, runner: Runner, model: nn.Module
    ) -> None:
        reference = TorchRunner(model, size=(256, 256), threshold=0.4)
        for size in ((1, 1), (100, 333), (256, 256), (288, 384)):
            frame = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
            found, expected = runner.predict(frame), reference.predict(frame)
            assert found.shape == size
            assert found.dtype == np.float32
            assert np.abs(found - expected).max() <= self.tolerance + 1 / 65535

    def test_infer_refuses_sizes_off_the_grid(self, runner: Runner) -> None:
        with pytest.raises(BadInput, match="multiples of 32" if self.any_size else "256, 256"):
            runner.infer(np.zeros((1, 3, 100, 64), np.float32))

    def test_an_artifact_of_other_weights_is_rejected_and_set_aside(self, model: nn.Module, tmp_path: Path) -> None:
        out = tmp_path / "tiny"
        other = randomised(Tiny(), seed=1)
        with pytest.raises(GateFailed, match="logit difference at 64x96"):
            export_bundle(
                other,
                target=self.target,
                spec=self.spec(),
                weights_info=WEIGHTS,
                out=out,
                check=lambda bundle: measure(bundle, model, phantom_images(1)),
            )
        assert [p.name for p in tmp_path.iterdir()] == ["tiny.rejected"]
        certificate = read_certificate(open_bundle(tmp_path / "tiny.rejected"))
        assert certificate is not None
        assert certificate.status == "rejected"

    def test_verifying_again_replaces_the_certificate(self, copied: Path, model: nn.Module) -> None:
        (copied / "certificate.json").unlink()
        frame = next(phantom_images(1).read()).frame[:200, :123]
        images = images_in_memory("1 odd frame", EvalPair("odd", "set", "case", frame, np.ones((200, 123), np.uint8)))
        certificate = verify_bundle(open_bundle(copied), model, images)
        assert read_certificate(open_bundle(copied)) == certificate
        assert certificate.source == "1 odd frame"
        assert certificate.images[0].id == "odd"

    def test_a_changed_model_file_is_refused(self, copied: Path) -> None:
        path = copied / open_bundle(copied).manifest.model_file
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
        with pytest.raises(BadBundle, match=path.name):
            lawder_edge.load(copied)

    def test_a_model_file_that_the_runtime_cannot_read_is_told(self, copied: Path) -> None:
        manifest = open_bundle(copied).manifest
        path = copied / manifest.model_file
        path.write_bytes(b"\0" * 100)
        sha256 = hashlib.sha256(b"\0" * 100).hexdigest()
        entry = manifest.model_entry
        text = manifest.to_json().replace(entry.sha256, sha256).replace(str(entry.size_bytes), "100")
        (copied / "manifest.json").write_text(text)
        with pytest.raises(BadBundle, match=path.name):
            lawder_edge.load(copied)

    def test_the_same_export_gives_the_same_bytes(self, exported: Path, model: nn.Module, tmp_path: Path) -> None:
        again = export_bundle(
            model, target=self.target, spec=self.full_spec(), weights_info=WEIGHTS, out=tmp_path / "again"
        )
        first: Manifest = open_bundle(exported).manifest
        second = again.manifest
        assert second.model_entry == first.model_entry
        assert set(second.files) == {f for f in first.files if f.name != "MODEL_CARD.md"}

    def test_one_channel_and_three_classes_at_a_fixed_size(self, tmp_path: Path) -> None:
        model = randomised(Tiny(in_channels=1, num_classes=3))
        bundle = self.export_small(model, tmp_path / "grey", channels=1, classes=3)
        runner = lawder_edge.load(bundle.path)
        assert largest_difference(runner, model, (1, 1, 64, 96)) <= self.tolerance
        frame = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
        np.testing.assert_allclose(runner.predict_classes(frame).sum(axis=0), 1, atol=1e-4)
        certificate = measure(bundle, model, phantom_images(1))
        assert certificate.status == "certified", certificate.reason
        with pytest.raises(BadInput, match="64, 96"):
            runner.infer(np.zeros((1, 1, 128, 128), np.float32))
        with pytest.raises(BadInput, match="batch 1"):
            runner.infer(np.zeros((2, 1, 64, 96), np.float32))

    def test_requests_that_cannot_be_met_leave_no_file(self, model: nn.Module, tmp_path: Path) -> None:
        out = tmp_path / "none"
        with pytest.raises(BadInput, match="fp31"):
            self.export_small(model, out, precision="fp31")
        with pytest.raises(BadInput, match=r"wanted logits of \(1, 5, 64, 96\)"):
            self.export_small(model, out, classes=5)
        with pytest.raises(BadInput, match="Tiny cannot be exported"):
            self.export_small(model, out, channels=1)
        with pytest.raises(BadInput, match="threshold"):
            export_bundle(model, target=self.target, spec=self.spec(), weights_info=WEIGHTS, out=out, threshold=1.0)
        assert list(tmp_path.iterdir()) == []

    def test_a_bundle_is_not_overwritten_unasked(self, copied: Path, model: nn.Module) -> None:
        before = {p.name: p.stat().st_mtime_ns for p in copied.iterdir()}
        with pytest.raises(OutputExists):
            self.export_small(model, copied)
        assert {p.name: p.stat().st_mtime_ns for p in copied.iterdir()} == before

    def test_exporting_leaves_the_module_as_it_was(self, tmp_path: Path) -> None:
        model = randomised(Tiny())
        before = {name: value.clone() for name, value in model.state_dict().items()}
        get_target(self.target).export(model.train(), self.spec(), tmp_path / "net")
        assert model.training
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())

    def test_processing_in_the_bundle_is_the_packages_own(self, exported: Path) -> None:
        assert (exported / "processing.py").read_bytes() == Path(processing.__file__).read_bytes()

    def test_the_runner_reproduces_the_golden_frames_without_this_package(self, copied: Path) -> None:
        done = run_on_device(copied, "--check", absent=self.absent)
        assert done.returncode == 0, done.stderr
        rows = [line.split("\t") for line in done.stdout.splitlines()[1:]]
        assert [row[0] for row in rows] == ["00", "01"]
        for _, dice, difference in rows:
            assert float(dice) >= 0.999
            assert float(difference) <= self.tolerance + 1 / 65535
        assert open_bundle(copied).path == copied

    def test_the_golden_masks_hold_foreground_and_background(self, exported: Path) -> None:
        from lawder_edge.data.images import read_mask

        for path in sorted((exported / "golden").glob("*.mask.png")):
            assert 0 < read_mask(path).labels.mean() < 1


class BatchContract(TargetContract):
    """`TargetContract` for a target whose files can take any batch."""

    def test_a_batch_gives_what_its_frames_give_one_by_one(self, runner: Runner, model: nn.Module) -> None:
        assert largest_difference(runner, model, (3, 3, 64, 96)) <= self.tolerance
