"""A model card from records that are known."""

from __future__ import annotations

import json
from dataclasses import replace

from bundle_samples import MODEL_FILE, sample_manifest

from lawder_edge.bench.card import model_card
from lawder_edge.bench.report import to_json
from lawder_edge.bench.rows import BenchReport
from lawder_edge.bundle.certificate import FP32_LIMITS, Certificate, ImageAgreement, LogitDifference
from lawder_edge.bundle.manifest import FileEntry, Manifest, Quantization
from lawder_edge.exporting.judge import certify

SHA256 = "ab" * 32  # as the fixture's artifact has


def manifest() -> Manifest:
    return replace(sample_manifest(), files=(FileEntry(MODEL_FILE, SHA256, 12_345),))


def certificate() -> Certificate:
    images = [ImageAgreement(str(i), 0.8, 0.81, 0.995, 0.99) for i in range(4)]
    differences = [LogitDifference(256, 256, 2e-5)]
    return certify(
        artifact_sha256=SHA256, source="4 frames", images=images, logit_differences=differences, limits=FP32_LIMITS
    )


def test_the_card_tells_file_masks_cost_and_weights(bench_report: BenchReport) -> None:
    text = model_card(
        manifest(), certificate(), benchmark=json.loads(to_json(bench_report)), about="# The weights\nGood."
    )
    for words in (
        "12,345 bytes",
        "any multiples of 32",
        "foreground from 0.42",
        "**rejected** on 4 frames",
        "| drop | +0.01000 [+0.01000, +0.01000] |",
        "| infer: bare network | 5.00 |",
        "Example CPU",
        "42,016 parameters, 0.106 GFLOPs",
        "kvasir:900",
        "## The weights",
    ):
        assert words in text
    assert text.count("\n# ") == 0


def test_numbers_of_another_file_are_not_told(bench_report: BenchReport) -> None:
    other = replace(manifest(), files=(FileEntry("net.onnx", "0" * 64, 5),))
    text = model_card(other, None, benchmark=json.loads(to_json(bench_report)))
    assert "Not measured" in text
    assert "Not verified" in text
    assert "Example CPU" not in text


def test_how_integers_round_is_told() -> None:
    q = Quantization("8 bits", "int8, asymmetric", "half to even")
    assert "activations: int8, asymmetric; rounding half to even" in model_card(
        replace(manifest(), quantization=q), None
    )
