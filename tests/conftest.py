"""Shared fixtures."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from lawder_edge.bench.machine import Machine, Package

# The contract's assertions are rewritten like those of a test file.
pytest.register_assert_rewrite("target_contract")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def seeded() -> None:
    """torch seeds itself by chance at its import: a test that draws from its own generator draws the same each time."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


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


@pytest.fixture
def machine() -> Machine:
    return Machine(
        cpu="Example CPU",
        architecture="x86_64",
        features=("avx2",),
        cores=4,
        usable_cores=2,
        memory_bytes=8_000_000_000,
        governor="performance",
        load_average=0.1,
        os="Example OS",
        python="3.11.7",
        packages=(Package("numpy", "2.0.0"), Package("torch", "")),
    )
