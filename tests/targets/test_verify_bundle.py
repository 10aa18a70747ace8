from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from target_contract import WEIGHTS, Tiny, randomised
from torch import nn

from lawder_edge.bundle.manifest import FileEntry, InputSpec, Manifest, OutputSpec
from lawder_edge.bundle.runner import Runner
from lawder_edge.bundle.store import Bundle
from lawder_edge.errors import BadBundle, BadInput, Unavailable
from lawder_edge.loading import TorchRunner
from lawder_edge.targets import verify
from lawder_edge.targets.verify import VerifyImages, logit_sizes, measure, phantom_images

SPEC = InputSpec(height=64, width=96, dynamic=False, dynamic_batch=False, multiple_of=32, channels=3, layout="NCHW")
Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def bundle() -> Bundle:
    manifest = Manifest(
        schema_version=1,
        name="tiny",
        model="tiny",
        target="onnx",
        precision="fp32",
        model_file="tiny.onnx",
        files=(FileEntry("tiny.onnx", "0" * 64, 1),),
        input=SPEC,
        output=OutputSpec(kind="logits", classes=1),
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
    first, second, other = phantom_images(2), phantom_images(2), phantom_images(2, seed=1)
    assert all((a == b).all() for a, b in zip(first.frames, second.frames, strict=True))
    assert not (first.frames[0] == other.frames[0]).all()
    assert first.truths[0].any()


@pytest.mark.parametrize("count", [0, 2])
def test_images_without_as_many_masks_are_refused(count: int) -> None:
    frame = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(BadInput, match="to verify on"):
        VerifyImages("set", ["a"] * count, [frame] * count, [frame[:, :, 0]] * (count // 2))
