"""The networks of a score's features, and the file that Inception's weights come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lawder_edge.errors import BadCheckpoint
from lawder_edge.models.inception import FidInception
from lawder_edge.synthesis.features import inception_features, lite0_features
from lawder_edge.training.pretrained import (
    INCEPTION_FILE,
    INCEPTION_SHA256,
    LoadedInception,
    load_inception,
    load_lite0,
)

PICTURES = [np.random.default_rng(i).integers(0, 256, (20 + i, 30, 3), np.uint8) for i in range(2)]


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return dict(FidInception().state_dict())


@pytest.fixture(scope="module")
def file(state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the right names and shapes, of nobody's weights."""
    path = tmp_path_factory.mktemp("hub") / INCEPTION_FILE
    torch.save(state, path)
    return path


def test_weights_of_the_right_names_are_loaded_and_those_of_the_published_digest_alone_make_it_fid(
    file: Path, state: dict[str, torch.Tensor]
) -> None:
    loaded = load_inception(file)
    assert not loaded.network.training
    assert all(torch.equal(value, state[name]) for name, value in loaded.network.state_dict().items())
    own = inception_features(loaded)
    assert own.name == f"Inception-v3 (weights {loaded.sha256[:12]})"
    assert not own.published
    assert inception_features(LoadedInception(loaded.network, INCEPTION_SHA256)).published


def test_pictures_of_several_sizes_become_a_row_of_features_each(file: Path) -> None:
    loaded = load_inception(file)
    seen: list[torch.Tensor] = []
    loaded.network.register_forward_pre_hook(lambda m, given: seen.append(given[0]))
    features = inception_features(loaded).extract(PICTURES)
    assert (features.shape, features.dtype) == ((2, 2048), np.float32)
    assert seen[0].shape == (2, 3, 299, 299)
    # The corner pixel as it is: (rgb - 128) / 128.
    assert seen[0][1, :, 0, 0].tolist() == [(int(v) - 128) / 128 for v in PICTURES[1][0, 0]]
    other = lite0_features(load_lite0())
    assert (other.name, other.published) == ("EfficientNet-Lite0", False)
    assert other.extract(PICTURES).shape == (2, 1280)


def test_a_file_that_is_missing_says_which_is_wanted_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    wanted = tmp_path / "hub" / "checkpoints" / INCEPTION_FILE
    for given, missing in ((None, wanted), (tmp_path / "other.pth", tmp_path / "other.pth")):
        with pytest.raises(BadCheckpoint) as told:
            load_inception(given)
        assert str(told.value).startswith(
            f"{missing}: no such file. Wanted is {INCEPTION_FILE} (96 MB, sha256 6726825d"
        )
        assert "pytorch-fid" in str(told.value)
        assert "--features-file" in str(told.value)


def test_a_file_of_another_network_says_what_differs(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    # torchvision's own: an auxiliary classifier, and 1,000 classes.
    of_torchvision = {
        **state,
        "AuxLogits.fc.bias": torch.zeros(1000),
        "fc.weight": torch.zeros(1000, 2048),
        "fc.bias": torch.zeros(1000),
    }
    torch.save(of_torchvision, other)
    with pytest.raises(BadCheckpoint, match=r"1 unknown \(first: AuxLogits.fc.bias\); 2 of another shape") as told:
        load_inception(other)
    assert "fc.bias, (1000,) for (1008,)" in str(told.value)
    del of_torchvision["AuxLogits.fc.bias"], of_torchvision["Conv2d_1a_3x3.conv.weight"]
    torch.save(of_torchvision, other)
    with pytest.raises(BadCheckpoint, match=r"1 missing \(first: Conv2d_1a_3x3.conv.weight\)"):
        load_inception(other)


@pytest.mark.parametrize(
    "content", [b"", b"<html>not found</html>", b"PK\x03\x04" + bytes(50)], ids=["empty", "page", "cut"]
)
def test_a_file_that_holds_no_weights_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(content)
    with pytest.raises(BadCheckpoint, match="no file of weights, or a damaged one"):
        load_inception(file)
    torch.save([1, 2], file)
    with pytest.raises(BadCheckpoint, match="holds a list that is no state dict"):
        load_inception(file)
