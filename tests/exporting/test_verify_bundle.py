from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from target_contract import WEIGHTS, Tiny, randomised
from torch import Tensor, nn

from lawder_edge.bundle.certificate import unmeasured
from lawder_edge.bundle.manifest import FileEntry, InputSpec, Manifest, OutputSpec
from lawder_edge.bundle.runner import Runner
from lawder_edge.bundle.store import Bundle, list_files, read_certificate, write_bundle, write_certificate
from lawder_edge.cli.main import run
from lawder_edge.errors import BadBundle, BadImage, BadInput, Unavailable
from lawder_edge.evaluation.evaluate import EvalPair
from lawder_edge.exporting import outcome, verify
from lawder_edge.exporting.images import images_of
from lawder_edge.exporting.verify import (
    VerifyImages,
    logit_sizes,
    measure,
    phantom_images,
    verify_bundle,
)
from lawder_edge.training.record import WeightsRecord
from lawder_edge.weights import LoadedModel, TorchRunner

SPEC = InputSpec(height=64, width=96, dynamic=False, dynamic_batch=False, multiple_of=32, channels=3, layout="NCHW")
Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def bundle(spec: InputSpec = SPEC, *, classes: int = 1) -> Bundle:
    manifest = Manifest(
        schema_version=2,
        name="tiny",
        model="tiny",
        target="onnx",
        precision="fp32",
        model_file="tiny.onnx",
        files=(FileEntry("tiny.onnx", "0" * 64, 1),),
        input=spec,
        output=OutputSpec(kind="logits", classes=classes),
        threshold=0.5,
        quantization=None,
        weights=WEIGHTS,
        tools=(),
    )
    return Bundle(Path("nowhere"), manifest)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return randomised(Tiny())


@pytest.fixture
def artifact(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> Callable[[Change], None]:
    """Put a runtime in place whose logits are PyTorch's, changed."""

    class Changed(TorchRunner):
        change: Change

        def infer(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
            return type(self).change(super().infer(tensor))

    def place(change: Change) -> None:
        Changed.change = staticmethod(change)

        def load(bundle: Bundle, *, threads: int = 0) -> Runner:
            return Changed(model, size=(64, 96))

        monkeypatch.setattr(verify, "load_runner", load)

    return place


def test_equal_logits_are_certified_on_real_masks(model: nn.Module, artifact: Callable[[Change], None]) -> None:
    artifact(lambda logits: logits)
    calls: list[tuple[int, int, str]] = []
    certificate = measure(bundle(), model, phantom_images(2), progress=lambda *call: calls.append(call))
    assert certificate.status == "certified"
    assert certificate.source == "2 phantom frames"
    assert calls == [(1, 2, "phantom/000"), (2, 2, "phantom/001")]
    assert {t.name for t in certificate.tools} == {"numpy", "onnxruntime", "torch"}


def test_a_small_shift_of_all_logits_fails_the_logit_gate(model: nn.Module, artifact: Callable[[Change], None]) -> None:
    artifact(lambda logits: logits + np.float32(1e-3))
    certificate = measure(bundle(), model, phantom_images(1))
    assert certificate.status == "rejected"
    assert "logit difference at 64x96 is 0.001" in certificate.reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda logits: logits * np.float32("nan"),
            "phantom/000: the artifact gives values at 64x96 that are not finite",
        ),
        (lambda logits: logits[:, :, ::2], "gives (1, 1, 32, 96) at 64x96, PyTorch (1, 1, 64, 96)"),
    ],
)
def test_output_that_cannot_be_compared_is_rejected_without_numbers(
    change: Change, said: str, model: nn.Module, artifact: Callable[[Change], None]
) -> None:
    artifact(change)
    certificate = measure(bundle(), model, phantom_images(1))
    assert (certificate.status, certificate.agreement, certificate.images) == ("rejected", None, ())
    assert said in certificate.reason


def test_a_runtime_that_fails_at_a_size_is_a_rejection(model: nn.Module, artifact: Callable[[Change], None]) -> None:
    def fail(logits: NDArray[np.float32]) -> NDArray[np.float32]:
        raise BadBundle("fails on an input of (1, 3, 64, 96)")

    artifact(fail)
    certificate = measure(bundle(), model, phantom_images(1))
    assert certificate.status == "rejected"
    assert "phantom/000: fails on an input" in certificate.reason


def test_a_module_that_gives_nan_is_bad_input_not_a_bad_artifact(artifact: Callable[[Change], None]) -> None:
    artifact(lambda logits: logits)
    broken = randomised(Tiny())
    nn.init.constant_(broken.head.weight, float("nan"))  # type: ignore[union-attr, arg-type]
    with pytest.raises(BadInput, match="not finite"):
        measure(bundle(), broken, phantom_images(1))


def test_a_runtime_that_is_not_here_leaves_it_unverified(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(bundle: Bundle, *, threads: int = 0) -> Runner:
        raise Unavailable("needs a GPU")

    monkeypatch.setattr(verify, "load_runner", load)
    certificate = measure(bundle(), model, phantom_images(1))
    assert (certificate.status, certificate.reason) == ("unverified-here", "needs a GPU")


def test_a_dynamic_file_is_tried_at_its_own_size_first_and_at_all_others_once() -> None:
    dynamic = replace(SPEC, dynamic=True, height=256, width=256)
    assert logit_sizes(dynamic) == ((256, 256), (128, 128), (352, 352), (192, 320))
    assert logit_sizes(SPEC) == ((64, 96),)


def test_sizes_follow_the_networks_own_stride() -> None:
    coarse = replace(SPEC, dynamic=True, height=256, width=256, multiple_of=128)
    assert logit_sizes(coarse) == ((256, 256), (128, 128), (384, 384), (256, 256))[:3]


def test_phantom_images_are_the_same_for_the_same_seed() -> None:
    first, second, other = (list(i.read()) for i in (phantom_images(2), phantom_images(2), phantom_images(2, seed=1)))
    assert [p.id for p in first] == ["phantom/000", "phantom/001"]
    assert all((a.frame == b.frame).all() for a, b in zip(first, second, strict=True))
    assert not (first[0].frame == other[0].frame).all()
    assert first[0].labels.any()


def test_no_images_are_refused(model: nn.Module, artifact: Callable[[Change], None]) -> None:
    artifact(lambda logits: logits)
    with pytest.raises(BadInput, match="nothing to verify on"):
        measure(bundle(), model, phantom_images(0))


def test_frames_are_let_go_of_once_they_are_scored(model: nn.Module, artifact: Callable[[Change], None]) -> None:
    artifact(lambda logits: logits)
    held: list[weakref.ref[NDArray[np.uint8]]] = []
    most = 0

    def read() -> Iterator[EvalPair]:
        nonlocal most
        for n in range(6):
            frame = np.full((300, 400, 3), n, np.uint8)
            held.append(weakref.ref(frame))
            most = max(most, sum(ref() is not None for ref in held))
            yield EvalPair(str(n), "set", None, frame, np.zeros((300, 400), np.uint8))
            del frame

    certificate = measure(bundle(), model, VerifyImages("6 of set", 6, read))
    assert len(certificate.images) == 6
    # The one that was just made, and the one that the caller's loop still names.
    assert most <= 2


def test_a_model_that_gives_nan_at_one_size_alone_is_told(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    class NanAt128(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = model(x)
            return logits * float("nan") if x.shape[-2:] == (128, 128) else logits

    class Finite(TorchRunner):
        def infer(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.nan_to_num(super().infer(tensor))

    def load(bundle: Bundle, *, threads: int = 0) -> Runner:
        return Finite(NanAt128(), size=(64, 96))

    monkeypatch.setattr(verify, "load_runner", load)
    with pytest.raises(BadInput, match="at 128x128 that are not finite"):
        measure(bundle(replace(SPEC, dynamic=True)), NanAt128(), phantom_images(1))


def test_a_graph_that_repeats_the_first_image_of_a_batch_is_rejected(
    model: nn.Module, artifact: Callable[[Change], None]
) -> None:
    artifact(lambda logits: np.repeat(logits[:1], len(logits), axis=0))
    assert measure(bundle(), model, phantom_images(2)).status == "certified"
    certificate = measure(bundle(replace(SPEC, dynamic_batch=True)), model, phantom_images(2))
    assert certificate.status == "rejected"
    assert "64x96 in a batch of 2" in certificate.reason


def test_classes_that_are_exchanged_are_rejected_by_their_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = randomised(Tiny(num_classes=3))

    class Exchanged(TorchRunner):
        def infer(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.ascontiguousarray(super().infer(tensor)[:, [0, 2, 1]])

    def load(bundle: Bundle, *, threads: int = 0) -> Runner:
        return Exchanged(model, size=(64, 96), classes=3)

    monkeypatch.setattr(verify, "load_runner", load)
    certificate = measure(bundle(classes=3), model, phantom_images(1))
    assert certificate.agreement is not None
    assert certificate.agreement.mask_dice.mean < 0.5


def test_images_that_were_left_out_are_counted_in_the_certificate(
    model: nn.Module, artifact: Callable[[Change], None], tmp_path: Path
) -> None:
    artifact(lambda logits: logits)
    for kind in ("images", "masks"):
        (tmp_path / "set" / kind).mkdir(parents=True)
    for n, pair in enumerate(phantom_images(3).read()):
        Image.fromarray(pair.frame).save(tmp_path / "set" / "images" / f"{n}.png")
        Image.fromarray(pair.labels * np.uint8(200)).save(tmp_path / "set" / "masks" / f"{n}.png")
    (tmp_path / "set" / "images" / "1.png").write_bytes(b"")
    with pytest.raises(BadImage, match=r"1\.png"):
        measure(bundle(), model, images_of(tmp_path / "set", (), limit=0))
    bad: list[str] = []
    notes: list[str] = []
    images = images_of(
        tmp_path / "set", (), limit=0, on_bad=lambda name, reason: bad.append(name), on_note=notes.append
    )
    certificate = measure(bundle(), model, images)
    assert certificate.source == "3 of set (1 of them unreadable, left out)"
    assert [i.id for i in certificate.images] == ["set/0", "set/2"]
    assert bad == ["set/1"]
    assert [note.split(":")[0] for note in notes] == ["set/0", "set/2"]


@pytest.fixture
def stored(tmp_path: Path) -> Bundle:
    """A bundle on disk that this machine's runtime cannot run."""

    def build(folder: Path) -> Manifest:
        (folder / "tiny.onnx").write_bytes(b"model")
        return replace(bundle().manifest, files=list_files(folder))

    return write_bundle(tmp_path / "tiny", build)


@pytest.fixture
def no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(bundle: Bundle, *, threads: int = 0) -> Runner:
        raise Unavailable("needs a GPU.")

    monkeypatch.setattr(verify, "load_runner", load)


@pytest.mark.usefixtures("no_runtime")
def test_a_certificate_stays_where_nothing_can_be_measured(stored: Bundle, model: nn.Module) -> None:
    sha256 = stored.manifest.model_entry.sha256
    good = unmeasured("rejected", "measured elsewhere", artifact_sha256=sha256, source="7 images")
    write_certificate(stored, good)
    assert verify_bundle(stored, model, phantom_images(1)).status == "unverified-here"
    assert read_certificate(stored) == good


def real(count: int) -> VerifyImages:
    """Phantom frames under the names of a folder's."""

    def read() -> Iterator[EvalPair]:
        for pair in phantom_images(count).read():
            yield replace(pair, id=pair.id.replace("phantom", "polyps"))

    return VerifyImages(f"{count} of polyps", count, read)


def test_a_certificate_of_real_images_stays_where_phantom_frames_agree_as_well(
    stored: Bundle, model: nn.Module, artifact: Callable[[Change], None]
) -> None:
    artifact(lambda logits: logits)
    verify_bundle(stored, model, phantom_images(1))
    good = verify_bundle(stored, model, real(2))
    assert read_certificate(stored) == good
    assert verify_bundle(stored, model, phantom_images(2)).source == "2 phantom frames"
    assert read_certificate(stored) == good
    renewed = verify_bundle(stored, model, real(1))
    assert read_certificate(stored) == renewed != good
    artifact(lambda logits: logits + np.float32(1e-3))
    rejected = verify_bundle(stored, model, phantom_images(1))
    assert read_certificate(stored) == rejected
    assert rejected.status == "rejected"


def test_the_command_says_that_the_certificate_stays(
    stored: Bundle,
    model: nn.Module,
    artifact: Callable[[Change], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    artifact(lambda logits: logits)
    verify_bundle(stored, model, real(1))
    loaded = LoadedModel(model, WeightsRecord("tiny"), "")
    monkeypatch.setattr(outcome, "source_model", lambda bundle, model: loaded)
    assert run(["verify", str(stored.path)]) == 0
    assert "its certificate of 1 of polyps stays. Give --data to renew it." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--full", "--strict"], "--full, --strict: not read without --all"),
     (["--all", "--threads", "2"], "--threads: not read with --all")],
)  # fmt: skip
def test_an_option_of_the_other_way_to_verify_is_refused(
    options: list[str], said: str, stored: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", str(stored.path), *options]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("no_runtime")
def test_a_bundle_without_certificate_gets_one_that_says_what_is_missing(stored: Bundle, model: nn.Module) -> None:
    certificate = verify_bundle(stored, model, phantom_images(1))
    assert read_certificate(stored) == certificate


@pytest.mark.usefixtures("no_runtime")
@pytest.mark.parametrize("before", [True, False])
def test_the_command_ends_with_exit_code_4_where_nothing_can_be_measured(
    before: bool,
    stored: Bundle,
    model: nn.Module,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if before:
        sha256 = stored.manifest.model_entry.sha256
        write_certificate(stored, unmeasured("rejected", "was", artifact_sha256=sha256, source="7 images"))
    loaded = LoadedModel(model, WeightsRecord("tiny"), "")
    monkeypatch.setattr(outcome, "source_model", lambda bundle, model: loaded)
    assert run(["verify", str(stored.path)]) == 4
    said = capsys.readouterr()
    assert "needs a GPU" in said.err
    assert ("earlier certificate stays" in said.err) == before
    assert "renewed" not in said.err
