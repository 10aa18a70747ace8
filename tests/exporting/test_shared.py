"""What exports share, and what they never do."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from target_contract import Tiny, randomised

from lawder_edge.bundle.processing import Float
from lawder_edge.bundle.runner import Runner
from lawder_edge.bundle.store import open_bundle, read_certificate
from lawder_edge.exporting import shared as room
from lawder_edge.exporting.outcome import export_verified
from lawder_edge.exporting.request import ExportRequest
from lawder_edge.exporting.shared import ALONE, Shared, SharedRunner
from lawder_edge.targets.forms import form_key
from lawder_edge.targets.registry import ExportSpec
from lawder_edge.training.checkpoint import save_weights
from lawder_edge.training.record import WeightsRecord


class Maker:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> bytes:
        self.count += 1
        return b"%d" % self.count


def test_what_was_made_is_found_for_the_same_network_and_the_same_thing_alone(tmp_path: Path) -> None:
    make = Maker()
    assert [Shared(tmp_path, network="a").once("x", make) for _ in range(2)] == [b"1", b"1"]
    assert Shared(tmp_path, network="a").once("y", make) == b"2"
    assert Shared(tmp_path, network="b").once("x", make) == b"3"
    assert [ALONE.once("x", make) for _ in range(2)] == [b"4", b"5"]


def test_what_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        Shared(tmp_path, network="a").once("x", fail)
    assert Shared(tmp_path, network="a").once("x", lambda: b"made") == b"made"


def test_of_those_that_ask_at_the_same_time_one_makes_it(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="no file locks on this system")
    make, ready = Maker(), threading.Barrier(4)

    def slowly() -> bytes:
        threading.Event().wait(0.05)
        return make()

    def ask() -> None:
        ready.wait()
        Shared(tmp_path, network="a").once("x", slowly)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert make.count == 1


class Doubling(Runner):
    def __init__(self, factor: float = 2.0) -> None:
        super().__init__(size=(4, 4))
        self.factor, self.asked = np.float32(factor), 0

    def infer(self, tensor: Float) -> Float:
        self.asked += 1
        return tensor * self.factor


def test_a_runner_answers_an_equal_tensor_once_and_any_other_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MOST_ANSWERS", 4)
    runner, x = Doubling(), np.arange(48, dtype=np.float32).reshape(1, 3, 4, 4)
    for tensor in (x, x, x + 1, x.reshape(1, 3, 2, 8), x):
        found = SharedRunner(runner, Shared(tmp_path, network="a"), what="doubled").infer(tensor)
        np.testing.assert_array_equal(found, 2 * tensor)
    assert runner.asked == 3
    other = SharedRunner(Doubling(3.0), Shared(tmp_path, network="b"), what="doubled")
    np.testing.assert_array_equal(other.infer(x), 3 * x)
    # Past MOST_ANSWERS nothing is kept.
    once = SharedRunner(runner, Shared(tmp_path, network="c"), what="doubled")
    for n in range(6):
        once.infer(x + n)
    assert len([p for p in tmp_path.iterdir() if p.suffix != ".lock"]) == 3 + 1 + 4


def test_a_form_depends_on_all_that_changes_its_bytes_and_on_nothing_else() -> None:
    plain = ExportSpec(size=(64, 64))
    same = (ExportSpec(size=(64, 64), name="n", notes=(("a", "b"),), threshold=0.1, precision="fp16"),)
    assert {form_key("onnx", spec) for spec in (plain, *same)} == {form_key("onnx", plain)}
    others = (
        ExportSpec(), ExportSpec(size=(64, 96)), ExportSpec(size=(64, 64), dynamic_batch=True),
        ExportSpec(size=(64, 64), precision="int8"), ExportSpec(size=(64, 64), opset=18),
        ExportSpec(size=(64, 64), channels=1), ExportSpec(size=(64, 64), classes=3),
        ExportSpec(size=(64, 64), output="probabilities"), ExportSpec(size=(64, 64), input_type="uint8"),
        ExportSpec(size=(64, 64), output="mask"), ExportSpec(size=(64, 64), output="mask", threshold=0.1),
        ExportSpec(size=(64, 64), multiple_of=16),
    )  # fmt: skip
    assert len({form_key("onnx", spec) for spec in (plain, *others)}) == 1 + len(others)
    assert form_key("graph", plain) != form_key("onnx", plain)


def test_a_changed_checkpoint_is_never_served_from_what_another_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    weights, folder = tmp_path / "w.safetensors", tmp_path / "shared"
    folder.mkdir()
    request = ExportRequest(model=f"target_contract:Tiny={weights}", size=(64, 64))

    def export(name: str, shared: Path | None) -> tuple[bytes, bytes, object]:
        row = export_verified("openvino", request, out=tmp_path / name, shared_folder=shared)
        assert row.status == "certified"
        bundle = open_bundle(tmp_path / name)
        certificate = read_certificate(bundle)
        assert certificate is not None
        golden = (bundle.path / "golden" / "00.probability.png").read_bytes()
        return bundle.model_path.read_bytes(), golden, certificate.agreement

    def change(seed: int) -> None:
        save_weights(weights, randomised(Tiny(), seed=seed), WeightsRecord(model="target_contract:Tiny"))

    change(0)
    before = export("before", folder)
    change(1)
    after = export("after", folder)
    alone = export("alone", None)
    assert after == alone
    assert all(a != b for a, b in zip(after, before, strict=True))

    def fail(*args: object, **options: object) -> None:
        raise AssertionError("exported again")

    # And what did not change is.
    monkeypatch.setattr(torch.onnx, "export", fail)
    assert export("again", folder) == after
