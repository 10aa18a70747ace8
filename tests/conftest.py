"""Shared fixtures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of development images, or a skip that says how to name one."""
    folder = Path(os.environ.get("LAWDER_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "kvasir-seg" / "images").is_dir():
        pytest.skip(f"no development images at {folder}; name their folder in LAWDER_DATA")
    return folder


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout."""
    return ROOT
