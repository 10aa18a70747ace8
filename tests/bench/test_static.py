"""Architectures of rows whose processes have no PyTorch."""

from __future__ import annotations

import dataclasses
import subprocess

import pytest

from lawder_edge.bench.rows import Measured, Row
from lawder_edge.bench.static import with_counts
from lawder_edge.models import MODELS


def test_artifacts_are_counted_by_the_name_of_their_architecture_and_own_networks_are_not(measured: Measured) -> None:
    uncounted = dataclasses.replace(measured, static=None, size=(64, 96))
    own = dataclasses.replace(uncounted, artifact=dataclasses.replace(measured.artifact, model="elsewhere:Net"))
    rows = (
        Row("unet", "ok", measured=uncounted),
        Row("own", "ok", measured=own),
        Row("counted", "ok", measured=measured),
        Row("bad", "failed", "why", 1),
    )
    found = with_counts(rows)
    assert found[0].measured is not None
    assert found[0].measured.static is not None
    assert found[0].measured.static.params == MODELS["unet"].params
    assert found[0].measured.static.macs > 0
    assert found[1].measured is not None
    assert found[1].measured.static is None
    assert found[2:] == rows[2:]


def test_nothing_to_count_starts_no_process(measured: Measured) -> None:
    rows = (Row("counted", "ok", measured=measured),)
    assert with_counts(rows) == rows


def test_what_a_pytorch_row_has_counted_starts_no_process(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*args: object, **options: object) -> None:
        raise AssertionError("counted again")

    monkeypatch.setattr(subprocess, "run", start)
    uncounted = dataclasses.replace(measured, static=None)
    found = with_counts((Row("bundle", "ok", measured=uncounted), Row("counted", "ok", measured=measured)))
    assert found[0].measured is not None
    assert found[0].measured.static == measured.static


def test_what_a_quantised_row_has_counted_is_of_its_deploy_form_and_not_used(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.CompletedProcess((), 0, "nothing to read", "")
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: ended)
    quantised = dataclasses.replace(measured, artifact=dataclasses.replace(measured.artifact, precision="int8"))
    uncounted = dataclasses.replace(measured, static=None)
    found = with_counts((Row("bundle", "ok", measured=uncounted), Row("int8", "ok", measured=quantised)))
    assert found[0].measured is not None
    assert found[0].measured.static is None
