"""Names and releases of what is installed."""

from __future__ import annotations

import importlib.metadata

import pytest

from lawder_edge.versions import Tool, installed_version, tool_of


def test_the_first_installed_distribution_gives_the_version() -> None:
    assert installed_version("no-such-distribution-here", "pytest") == installed_version("pytest") != ""
    assert installed_version("no-such-distribution-here") == ""


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime, from the distribution for GPUs."""

    def version(name: str) -> str:
        if name != "onnxruntime-gpu":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.23.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: {"onnxruntime": ["onnxruntime-gpu"]})


@pytest.mark.usefixtures("with_gpu")
def test_a_distribution_of_another_name_is_told_with_its_release() -> None:
    assert tool_of("onnxruntime") == Tool("onnxruntime-gpu", "1.23.0")
    assert tool_of("built_in_place") == Tool("built_in_place", "unknown")
