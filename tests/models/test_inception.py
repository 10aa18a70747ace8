"""Inception-v3 as FID has it. Its weights are not here: what is held is the structure, against counts of others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.models.inception import FEATURES, SIDE_PX, FidInception, legacy_bilinear


@pytest.fixture(scope="module")
def network() -> FidInception:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = FidInception().eval()
        # PyTorch's own start lets a picture die out on the way.
        for module in made.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
    return made


def test_it_has_the_parameters_and_tensors_of_the_published_one(network: FidInception) -> None:
    features = sum(p.numel() for name, p in network.named_parameters() if not name.startswith("fc."))
    channels = sum(m.num_features for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    # Keras's InceptionV3(include_top=False) has 21,768,352 to train and has no scales in its BatchNorms.
    assert features - channels == 21_768_352
    # And 34,432 running means and variances.
    assert 2 * channels == 34_432
    # The file has 566 tensors and 95,628,359 bytes, 86 KB more than its float32 and int64 numbers.
    state = network.state_dict()
    assert len(state) == 566
    assert 0 < 95_628_359 - sum(v.numel() * v.element_size() for v in state.values()) < 100_000


def test_it_takes_the_operations_of_the_published_one_and_gives_2048_features(network: FidInception) -> None:
    macs = 0
    shapes: dict[str, tuple[int, ...]] = {}

    def count(module: nn.Module, _: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal macs
        macs += out[0].numel() * module.weight[0].numel()  # type: ignore[index, operator, union-attr]

    handles = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d)]
    for name in ("Mixed_5b", "Mixed_6a", "Mixed_7a", "Mixed_7c"):
        block = network.get_submodule(name)
        handles.append(block.register_forward_hook(lambda m, i, o, name=name: shapes.update({name: tuple(o.shape)})))
    ramp = torch.linspace(-1, 1, SIDE_PX).expand(1, 3, SIDE_PX, SIDE_PX)
    with torch.no_grad():
        features = network(torch.cat([ramp, ramp.mT]))
    for handle in handles:
        handle.remove()
    # torchvision says 5.713 G for a picture, with its classifier of 1,000.
    assert round((macs + FEATURES * 1000) / 1e9, 3) == 5.713
    assert shapes == {
        "Mixed_5b": (2, 256, 35, 35), "Mixed_6a": (2, 768, 17, 17), "Mixed_7a": (2, 1280, 8, 8),
        "Mixed_7c": (2, 2048, 8, 8),
    }  # fmt: skip
    assert features.shape == (2, FEATURES)
    assert (features[0] - features[1]).abs().max() > 0.1


def test_its_averages_leave_the_padding_out_and_its_last_block_takes_the_maximum(network: FidInception) -> None:
    for name, channels in (("Mixed_5d", 288), ("Mixed_7b", 1280), ("Mixed_7c", 2048)):
        block = network.get_submodule(name)
        pool: nn.Module = block.branch_pool  # type: ignore[assignment]
        x = torch.rand(1, channels, 5, 5)
        with torch.no_grad():
            given = block(x)[:, -pool.conv.out_channels :]  # type: ignore[operator, union-attr]
            mean = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
            wanted = pool(F.max_pool2d(x, 3, 1, 1) if name == "Mixed_7c" else mean)
            assert torch.equal(given, wanted)
            assert not torch.allclose(given, pool(F.avg_pool2d(x, 3, 1, 1)))


def test_pictures_are_resized_from_the_first_pixel_as_in_tensorflow_1() -> None:
    row = torch.tensor([0.0, 10, 30]).expand(1, 1, 3, 3)
    # Place i reads 3 i / 6: 0, .5, 1, 1.5, 2, and 2.5, which has no right neighbour but itself.
    assert torch.equal(legacy_bilinear(row, 6)[0, 0, 0], torch.tensor([0.0, 5, 10, 20, 30, 30]))
    assert torch.equal(legacy_bilinear(row.mT, 6)[0, 0, :, 0], torch.tensor([0.0, 5, 10, 20, 30, 30]))
    # No anti-aliasing when shrinking: every second pixel.
    assert torch.equal(legacy_bilinear(torch.arange(8.0).expand(1, 1, 8, 8), 4)[0, 0, 0], torch.arange(0.0, 8, 2))
    same = torch.rand(1, 3, SIDE_PX, SIDE_PX)
    assert torch.equal(legacy_bilinear(same), same)
