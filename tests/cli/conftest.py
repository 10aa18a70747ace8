"""What several tests of the command line start from: a phantom folder, a run, a bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_calls import RECIPE, Said, blob, done, scene
from PIL import Image


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A folder `polyps` of 8 good pairs."""
    folder = tmp_path / "polyps"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for i in range(8):
        Image.fromarray(scene(i)).save(folder / "images" / f"p{i}.png")
        Image.fromarray(blob()).save(folder / "masks" / f"p{i}.png")
    return folder


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 phantom frames."""
    out = tmp_path_factory.mktemp("phantom") / "ph"
    done(["data", "phantom", "--out", out, "-n", 24, "--size", 96, 128])
    return out


@pytest.fixture(scope="session")
def trained(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of ORDER, trained briefly on the phantom frames. Tests that change it take a copy."""
    out = tmp_path_factory.mktemp("runs") / "order"
    done(["train", "--data", phantom, "--model", "order", "--out", out, *RECIPE])
    return out


@pytest.fixture(scope="session")
def checkpoint(trained: Path) -> Path:
    """Its weights."""
    return trained / "best.safetensors"


@pytest.fixture(scope="session")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """The checkpoint as an ONNX bundle of any size, and what its export said."""
    out = tmp_path_factory.mktemp("bundles") / "order-onnx"
    return out, done(["export", "--target", "onnx", "--model", checkpoint, "--out", out])


@pytest.fixture(scope="session")
def bundle(exported: tuple[Path, Said]) -> Path:
    """The bundle. Tests that change it take a copy."""
    return exported[0]
