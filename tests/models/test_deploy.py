"""The deploy form computes what the trained module computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.errors import BadInput
from lawder_edge.models import MODELS, create_model
from lawder_edge.models.blocks import GroupedAttentionGate, MultiKernelInvertedResidual
from lawder_edge.models.deploy import split_inputs, to_deploy


def worked_in(model: nn.Module, *, seed: int = 0) -> nn.Module:
    """The model with weights and statistics as training leaves them: nothing at zero, one or the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.3, generator=generator)
            elif isinstance(module, nn.Conv2d):
                fan = module.weight[0].numel()
                module.weight.normal_(0, fan**-0.5, generator=generator)
                if module.bias is not None:
                    module.bias.normal_(0, 0.3, generator=generator)
        for name, value in model.named_parameters():
            if name.endswith("score_bias"):
                value.fill_(-0.7)
    return model.eval()


def assert_equal(model: nn.Module, deployed: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        expected, got = model(x), deployed(x)
    assert expected.std() > 0
    scale = float(expected.max() - expected.min())
    assert float((got - expected).abs().max()) <= 1e-5 * scale


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("mk_unet_m", "mk_unet_l")])
@pytest.mark.parametrize(("channels", "classes"), [(3, 1), (1, 3)])
def test_the_deploy_form_is_equal(name: str, channels: int, classes: int) -> None:
    model = worked_in(create_model(name, in_channels=channels, num_classes=classes))
    deployed = to_deploy(model)
    for size in ((64, 96), (128, 64)):
        assert_equal(model, deployed, torch.rand(2, channels, *size) * 2 - 1)


@pytest.mark.parametrize("name", ["order", "mk_order", "mk_unet_t", "unet"])
def test_nothing_is_left_that_devices_lack(name: str) -> None:
    deployed = to_deploy(worked_in(create_model(name)))
    convs = [m for m in deployed.modules() if isinstance(m, nn.Conv2d)]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in deployed.modules())
    assert all(conv.groups in (1, conv.in_channels) for conv in convs)
    assert not any("aux_heads" in key for key in deployed.state_dict())
    wide = [conv for conv in convs if conv.groups > 1]
    assert all(conv.out_channels % 4 == 0 for conv in wide)
    program = torch.export.export(deployed, (torch.zeros(1, 3, 64, 64),))
    operators = {node.target.__name__ for node in program.graph.nodes if node.op == "call_function"}
    assert not [operator for operator in operators if "batch_norm" in operator]


@pytest.mark.parametrize("name", ["order", "mk_order", "mk_unet_t", "unet"])
def test_the_deploy_form_of_the_deploy_form_is_itself(name: str) -> None:
    deployed = to_deploy(worked_in(create_model(name)))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        # As fine-tuning leaves it, means of channels too.
        for value in deployed.parameters():
            value.mul_(1 + 0.1 * torch.rand(value.shape, generator=generator))
    again = to_deploy(deployed)
    assert_equal(deployed, again, torch.randn(1, 3, 64, 96, generator=generator))


def test_the_trained_module_stays_as_it_was() -> None:
    model = worked_in(create_model("order"))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    deployed = to_deploy(model)
    with torch.no_grad():
        for parameter in deployed.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_a_convolution_split_by_its_inputs_keeps_its_windows(mode: str) -> None:
    conv = nn.Conv2d(5, 4, 3, stride=2, padding=2, dilation=2, padding_mode=mode)
    first, second = split_inputs(conv, 2)
    x = torch.rand(1, 5, 16, 20)
    with torch.no_grad():
        torch.testing.assert_close(first(x[:, :2]) + second(x[:, 2:]), conv(x))
    with pytest.raises(ValueError, match="one group"):
        split_inputs(nn.Conv2d(4, 4, 1, groups=2), 2)


def test_blocks_of_dilated_and_strided_convolutions_are_equal_in_deploy_form() -> None:
    block = MultiKernelInvertedResidual(3, 4)
    for conv, dilation in zip(block.branches, (1, 2, 3), strict=True):
        conv.stride, conv.dilation = (2, 2), (dilation, dilation)
        conv.padding = (conv.kernel_size[0] // 2 * dilation,) * 2
    block.skip.stride = (2, 2)
    assert_equal(worked_in(block), to_deploy(block), torch.rand(1, 3, 16, 16))
    gate = GroupedAttentionGate(4)
    for conv in (gate.decoder_conv, gate.skip_conv):
        conv.dilation = conv.padding = (2, 2)
    worked_in(gate)
    deployed, (decoder, skip) = to_deploy(gate), torch.rand(2, 1, 4, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(deployed(decoder, skip), gate(decoder, skip), rtol=1e-5, atol=1e-5)


class Own(nn.Module):
    """A convolution that feeds two, a BatchNorm that follows no convolution, and a pair to fold."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.first_bn = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second, self.second_bn = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.late_bn, self.head = nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        z = self.second_bn(self.second(F.relu(self.first_bn(y) + y)))
        return self.head(self.late_bn(F.relu(z)))


class Untraceable(Own):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if float(x.abs().max()) >= 0 else x


class ByKeyword(Own):
    def forward(self, x: Tensor) -> Tensor:
        y = self.first(input=x)
        z = self.second_bn(input=self.second(input=F.relu(self.first_bn(input=y) + y)))
        return self.head(self.late_bn(input=F.relu(z)))


@pytest.mark.parametrize(("network", "convolutions"), [(Own, 5), (ByKeyword, 5), (Untraceable, 6)])
def test_a_network_of_ones_own_loses_its_batch_norm(network: type[nn.Module], convolutions: int) -> None:
    model = worked_in(network())
    deployed = to_deploy(model)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in deployed.modules())
    assert sum(isinstance(m, nn.Conv2d) for m in deployed.modules()) == convolutions
    assert_equal(model, deployed, torch.rand(1, 3, 32, 32) * 2 - 1)


def test_weights_that_are_not_finite_are_refused() -> None:
    model = create_model("unet")
    with torch.no_grad():
        next(model.parameters())[0] = float("nan")
    with pytest.raises(BadInput, match=r"not finite numbers \(first: down\.0\.0\.weight\)"):
        to_deploy(model)


def test_a_batch_norm_without_running_statistics_is_refused_by_name() -> None:
    network = Own()
    network.late_bn = nn.BatchNorm2d(4, track_running_stats=False)
    with pytest.raises(BadInput, match=r"late_bn is a BatchNorm2d without running statistics.*track_running_stats"):
        to_deploy(network)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_padding_by_name_becomes_numbers_where_both_sides_have_as_much() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, (3, 5), padding="same"),
        nn.Conv2d(4, 4, 3, dilation=2, padding="same"),
        nn.Conv2d(4, 4, 3, padding="valid"),
        nn.Conv2d(4, 4, 2, padding="same"),
        nn.Conv2d(4, 1, 3, padding="same", padding_mode="reflect"),
    )
    x = torch.randn(2, 3, 24, 32)
    deployed = to_deploy(network)
    torch.testing.assert_close(deployed(x), network(x), rtol=0, atol=0)
    found = [conv.padding for conv in deployed.modules() if isinstance(conv, nn.Conv2d)]
    assert found == [(1, 2), (2, 2), (0, 0), "same", "same"]
