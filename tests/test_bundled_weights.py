"""The weights that the package carries are the ones that the card describes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lawder_edge.data.datasets import listed_samples
from lawder_edge.evaluation.evaluate import evaluate
from lawder_edge.evaluation.folder import read_pairs
from lawder_edge.exporting.outcome import export_verified
from lawder_edge.exporting.request import ExportRequest
from lawder_edge.loading import load_predictor
from lawder_edge.training.checkpoint import read_weights
from lawder_edge.weights import bundled_card, bundled_weights, load_model

LISTS = {"Kvasir-100": "pranet_test_kvasir_100.txt", "ClinicDB-62": "pranet_test_clinicdb_62.txt"}


def _card() -> str:
    card = bundled_card("order")
    assert card is not None
    return card.read_text()


def test_order_comes_trained_and_small() -> None:
    path = bundled_weights("order")
    assert path is not None
    assert path.stat().st_size < 300_000
    loaded = load_model("order")
    assert sum(p.numel() for p in loaded.module.parameters()) == 41_732
    assert loaded.sha256[:16] in _card()


def test_the_weights_say_what_they_were_trained_and_chosen_on() -> None:
    path = bundled_weights("order")
    assert path is not None
    _, record = read_weights(path)
    assert len(record.train_ids) + len(record.val_ids) == 1450
    assert not set(record.train_ids) & set(record.val_ids)
    assert len(record.train_groups) > 20
    assert 0 < record.threshold < 1


def test_the_card_tells_terms_and_limits() -> None:
    card = _card().lower()
    for phrase in ("not a medical device", "research", "kvasir-seg", "cvc-clinicdb", "sequence", "threshold"):
        assert phrase in card


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize("listed", LISTS)
def test_an_evaluation_prints_the_numbers_in_the_model_card(real_data: Path, listed: str) -> None:
    predictor = load_predictor("order")
    samples = listed_samples(real_data, [real_data / "splits" / LISTS[listed]])
    report = evaluate(predictor.runner.predict, read_pairs(samples), threshold=predictor.threshold)
    row = next(line for line in _card().splitlines() if line.startswith(f"| {listed}"))
    found = report.overall
    printed = [float(number) for number in re.findall(r"\d\.\d{4}", row)]
    wanted = [v for m in (found.dice, found.iou, found.mean_iou, found.surface_dice) for v in (m.mean, m.low, m.high)]
    # Other processors round sums in another order, which moves single edge pixels.
    assert printed[:12] == pytest.approx(wanted, abs=5e-4)


@pytest.mark.realdata
def test_the_test_list_of_clinicdb_is_marked_as_sharing_sequences(real_data: Path) -> None:
    predictor = load_predictor("order")
    samples = listed_samples(real_data, [real_data / "splits" / LISTS["ClinicDB-62"]])[:4]
    report = evaluate(
        predictor.runner.predict, read_pairs(samples), threshold=predictor.threshold, trained_on=predictor.trained_on
    )
    assert report.overlap.sequence
    assert not report.overlap.trained


@pytest.mark.realdata
@pytest.mark.slow
def test_one_dynamic_onnx_file_is_certified_on_real_images(real_data: Path, tmp_path: Path) -> None:
    request = ExportRequest(data=real_data, split=(real_data / "splits" / "pranet_test_kvasir_100.txt",), limit=12)
    row = export_verified("onnx", request, out=tmp_path / "bundle")
    assert row.status == "certified"
    assert row.logit_difference is not None
    assert row.logit_difference <= 1e-4
    assert row.size_bytes <= 260_000
    content = (tmp_path / "bundle" / row.file).read_bytes()
    assert str(Path.cwd()).encode() not in content
    assert b"/site-packages/" not in content
