"""What files take and give besides float32 frames and logits: what every target promises that claims it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from target_contract import WEIGHTS, TargetContract, Tiny, randomised, run_on_device
from torch import nn

import lawder_edge
from lawder_edge.bundle import processing
from lawder_edge.bundle.manifest import InputType, OutputKind
from lawder_edge.bundle.store import Bundle
from lawder_edge.errors import BadInput
from lawder_edge.exporting.export import export_bundle
from lawder_edge.exporting.verify import measure, phantom_images
from lawder_edge.targets.registry import get_target
from lawder_edge.targets.words import option_of
from lawder_edge.weights import TorchRunner


class EdgeContract(TargetContract):
    """`TargetContract` for a target that gives and takes all there is in float32. Inherit as that, and add
    `stored_type`.
    """

    @pytest.mark.parametrize("output", ["probabilities", "mask"])
    @pytest.mark.parametrize("classes", [1, 3])
    def test_a_file_gives_what_it_claims_and_proves_it(self, output: OutputKind, classes: int, tmp_path: Path) -> None:
        model = randomised(Tiny(num_classes=classes))
        bundle = self.export_small(model, tmp_path / "a", classes=classes, output=output)
        runner, reference = lawder_edge.load(bundle.path), TorchRunner(model, size=(64, 96), classes=classes)
        assert (bundle.manifest.output.kind, runner.kind) == (output, output)
        frame = next(phantom_images(1).read()).frame
        tensor = runner.prepare(frame)
        expected, found = processing.probabilities(reference.infer(tensor)), runner.infer(tensor)
        if output == "mask":
            assert (found.dtype, found.shape) == (np.uint8, (1, 1, 64, 96))
            assert np.mean(found == processing.class_numbers(expected, 0.4)) >= 0.9995
            assert 0 < np.mean(found != 0) < 1
            assert set(np.unique(found)) <= set(range(max(classes, 2)))
            numbers = processing.labels_to_size(found[0, 0], (256, 256))
            np.testing.assert_array_equal(runner.predict_labels(frame), numbers)
            np.testing.assert_array_equal(runner.predict_mask(frame), numbers != 0)
            with pytest.raises(BadInput, match="--output prob"):
                runner.predict(frame)
        else:
            assert found.dtype == np.float32
            assert np.abs(found - expected).max() <= self.tolerance / 4
            predicted = (runner.predict(frame), reference.predict(frame))
            assert np.abs(predicted[0] - predicted[1]).max() <= self.tolerance / 4 + 1 / 65535
        certificate = measure(bundle, model, phantom_images(2))
        assert certificate.status == "certified", certificate.reason
        names = " ".join(gate.name for gate in certificate.gates)
        assert ("probability difference" in names) == (output == "probabilities")
        assert "equal pixels" in names
        assert "worst mask Dice" in names
        checked = run_on_device(bundle.path, "--check", absent=self.absent)
        assert checked.returncode == 0, checked.stderr
        assert all(float(line.split("\t")[1]) >= 0.999 for line in checked.stdout.splitlines()[1:])

    @pytest.mark.parametrize("output", ["probabilities", "mask"])
    def test_other_weights_are_rejected_whatever_the_file_gives(self, output: OutputKind, tmp_path: Path) -> None:
        bundle = self.export_small(randomised(Tiny(), seed=1), tmp_path / "a", output=output)
        certificate = measure(bundle, randomised(Tiny()), phantom_images(1))
        assert certificate.status == "rejected"
        assert "equal pixels at 64x96" in certificate.reason

    @pytest.mark.parametrize("taken", ["uint8", "int8"])
    def test_a_file_takes_a_frames_bytes_and_gives_the_same(
        self, taken: InputType, exported: Path, model: nn.Module, tmp_path: Path
    ) -> None:
        bundle = export_bundle(
            model,
            target=self.target,
            spec=replace(self.full_spec(), input_type=taken),
            weights_info=WEIGHTS,
            out=tmp_path / "a",
        )
        assert (bundle.manifest.input.dtype, bundle.manifest.output.dtype) == (taken, "float32")
        runner, plain = lawder_edge.load(bundle.path, threads=1), lawder_edge.load(exported, threads=1)
        frame = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
        tensor = runner.prepare(frame)
        np.testing.assert_allclose(runner.infer(tensor), plain.infer(tensor), atol=1e-6)
        assert self.stored_type(bundle) == taken
        certificate = measure(bundle, model, phantom_images(1))
        assert certificate.status == "certified", certificate.reason
        checked = run_on_device(bundle.path, "--check", absent=self.absent)
        assert checked.returncode == 0, checked.stderr

    def stored_type(self, bundle: Bundle) -> str:
        """Of the file's own input, by the runtime's word."""
        raise NotImplementedError

    def test_what_a_target_cannot_give_or_take_is_refused_with_what_it_can(
        self, model: nn.Module, tmp_path: Path
    ) -> None:
        record = get_target(self.target)
        for precision in record.precisions:
            outputs, inputs = record.can(precision)
            assert "logits" in outputs
            for kind in set(get_args(OutputKind)) - set(outputs):
                told = f"has no {option_of(kind)}.*It has: {', '.join(map(option_of, outputs))}"
                with pytest.raises(BadInput, match=told):
                    self.export_small(model, tmp_path / "a", precision=precision, output=kind)
            for dtype in set(get_args(InputType)) - set(inputs):
                told = f"has no {option_of(dtype)}.*It has: {', '.join(map(option_of, inputs))}"
                with pytest.raises(BadInput, match=told):
                    self.export_small(model, tmp_path / "a", precision=precision, input_type=dtype)
        assert list(tmp_path.iterdir()) == []
