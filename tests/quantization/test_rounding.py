"""The rounded network, and the program made from it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.errors import BadInput
from lawder_edge.models import create_model
from lawder_edge.models.deploy import to_deploy
from lawder_edge.quantization.convert import to_program
from lawder_edge.quantization.fake import (
    ActivationRounding,
    WeightRounding,
    bias_steps,
    noise_table,
    round_to,
    weight_scales,
)
from lawder_edge.quantization.prepare import _convolve, prepare

SIZE = (64, 64)


def spread(name: str) -> nn.Module:
    """A deploy form whose logits depend on its input more than a fresh network's do."""
    torch.manual_seed(0)
    deployed = to_deploy(create_model(name))
    with torch.no_grad():
        for key, parameter in deployed.named_parameters():
            # The means over channels are constants of the deploy form.
            if parameter.ndim == 4 and ".means." not in key:
                parameter.normal_(0, parameter[0].numel() ** -0.5)
    return deployed


def frames(n: int = 4) -> Tensor:
    """(n, 3, 64, 64) of multiples of 1/128, as pictures give them."""
    generator = torch.Generator().manual_seed(1)
    return (torch.randint(0, 256, (n, 3, *SIZE), generator=generator) - 128) / 128


def test_a_range_is_learnt_then_kept() -> None:
    rounding = ActivationRounding(momentum=0.5).train()
    rounding(torch.tensor([0.0, 4.0]))
    assert float(rounding.high) == 4.0
    rounding(torch.tensor([-2.0, 2.0]))
    assert (float(rounding.low), float(rounding.high)) == (-1.0, 3.0)
    rounding.eval()
    rounding(torch.tensor([9.0]))
    rounding.train()
    rounding.frozen = True
    rounding(torch.tensor([9.0]))
    assert (float(rounding.low), float(rounding.high)) == (-1.0, 3.0)
    assert float(rounding(torch.tensor([100.0]))) == pytest.approx(3.0, abs=4 / 255)


class TwoRanges(nn.Module):
    """Two tensors of one scale, one ten times as large as the other."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.small(x), self.large(x)], dim=1)


def test_tensors_that_share_a_scale_are_spanned_by_it() -> None:
    model = TwoRanges()
    with torch.no_grad():
        for convolution, gain in ((model.small, 1.0), (model.large, 10.0)):
            convolution.weight.copy_(gain * torch.eye(3).view(3, 3, 1, 1))
            convolution.bias.zero_()  # type: ignore[union-attr]
    rounded, x = prepare(model, size=SIZE).train(), frames()
    for _ in range(20):
        rounded(x)
    with torch.no_grad():
        exact = model(x)
        errors = (rounded.eval()(x) - exact).abs()
    step = rounded.scales().tensors[-1].scale
    assert step == pytest.approx(float(exact.max() - exact.min()) / 255, rel=0.01)
    # Half a step by the output's rounding, and what a factor of 7 bits is off.
    assert float(errors.max()) <= 0.5 * step + 0.01


def test_gradients_pass_inside_the_range_only() -> None:
    rounding = ActivationRounding().train()
    rounding(torch.tensor([-1.0, 1.0]))
    rounding.eval()
    x = torch.tensor([0.3, 5.0], requires_grad=True)
    rounding(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 0.0]


def test_a_tight_range_leaves_out_rare_values_where_that_rounds_the_others_better() -> None:
    torch.manual_seed(0)
    x = torch.randn(20_001)
    x[1], x[2] = 40.0, -40.0
    wide, tight = ActivationRounding().train(), ActivationRounding().train()
    tight.tight = True
    errors = [(rounding(x) - x).abs().median() for rounding in (wide, tight)]
    assert float(wide.high) == 40.0
    assert 4 < float(tight.high) < 20.0
    assert errors[1] < errors[0] / 2
    even = ActivationRounding().train()
    even.tight = True
    even(torch.linspace(-1, 1, 5001))
    assert (float(even.low), float(even.high)) == (-1.0, 1.0)


def test_biases_are_rounded_as_runtimes_store_them() -> None:
    deployed, x = spread("unet"), frames()
    bias, weight = deployed.down[0][0].bias, deployed.down[0][0].weight
    with torch.no_grad():
        bias.uniform_(-0.3, 0.3)
    rounded = prepare(deployed, size=SIZE).train()
    rounded(x)
    scales = rounded.eval().scales()
    program = to_program(deployed, scales, example=x[:1])
    steps = bias_steps(weight, 1 / 128, scales.weight_max)
    stored = next(value for name, value in program.state_dict.items() if name.startswith("rounded_bias"))
    assert not torch.equal(stored, bias)
    assert float((stored - bias).abs().max()) <= float(steps.max()) / 2 * 1.001
    torch.testing.assert_close((stored / steps).round() * steps, stored.double(), rtol=1e-6, atol=0)


def test_noise_moves_values_by_its_steps_in_training_alone() -> None:
    rounding = ActivationRounding()
    rounding.set(0.5, 0)
    x = 0.5 * torch.arange(-100, 100.0).repeat(40)
    assert torch.equal(rounding.train()(x), x)
    rounding.noise_steps = noise_table(2.5)
    moved = (rounding.train()(x) - x) / 0.5
    assert torch.equal(rounding.eval()(x), x)
    assert moved.min() == -2
    assert moved.max() == 2
    assert abs(float(moved.mean())) < 0.1


def test_rounding_equals_that_of_pytorch_and_so_does_its_gradient() -> None:
    x = torch.linspace(-9, 9, 10_001, requires_grad=True)
    for scale, zero_point in ((0.05, 3), (2.0**-5, -128), (0.0307, 127)):
        want = torch.fake_quantize_per_tensor_affine(x, scale, zero_point, -128, 127)
        got = round_to(x, scale, zero_point)
        torch.testing.assert_close(got, want, rtol=1e-6, atol=0)
        (wanted,), (given,) = (torch.autograd.grad(y.sum(), [x]) for y in (want, got))
        assert torch.equal(wanted, given)


def test_weights_are_rounded_channel_by_channel_to_seven_bits() -> None:
    weight = torch.tensor([[1.0, -0.37], [0.01, 0.004], [0.0, 0.0]]).view(3, 2, 1, 1)
    steps = weight_scales(weight, 63)
    assert steps[:2].tolist() == pytest.approx([1 / 63, 0.01 / 63])
    rounded = WeightRounding(63)(weight)
    integers = (rounded / steps.view(-1, 1, 1, 1)).flatten().tolist()
    assert integers == pytest.approx([63, -23, 63, 25, 0, 0], abs=1e-3)


@pytest.mark.parametrize("name", ["order", "mk_unet_t", "unet"])
def test_the_program_computes_what_was_trained(name: str) -> None:
    deployed, x = spread(name), frames()
    rounded = prepare(deployed, size=SIZE).train()
    for _ in range(3):
        rounded(x)
    rounded.eval()
    program = to_program(deployed, rounded.scales(), example=x[:1])
    with torch.no_grad():
        trained, exported, exact = rounded(x[:1]), program.module()(x[:1]), deployed(x[:1])
    step = rounded.scales().tensors[-1].scale
    assert exact.std() > 10 * step
    assert torch.equal(trained, exported)
    # Rounded, and yet the same network.
    assert not torch.equal(exact, exported)
    assert float(torch.corrcoef(torch.stack([exact.flatten(), exported.flatten()]))[0, 1]) > 0.98


def test_every_value_of_the_program_is_on_an_integer_grid() -> None:
    deployed, x = spread("order"), frames()
    rounded = prepare(deployed, size=SIZE).train()
    rounded(x)
    program = to_program(deployed, rounded.eval().scales(), example=x[:1])
    quantised = [n for n in program.graph.nodes if "quantize_per_tensor" in str(n.target)]
    sources = [n.args[0] for n in quantised if ".quantize_per_tensor" in str(n.target)]
    floats = {"conv2d", "add", "mul", "sigmoid", "mean", "relu6", "upsample_bilinear2d", "avg_pool2d", "amax", "cat"}
    for node in program.graph.nodes:
        kind = str(node.target).split(".")[1] if node.op == "call_function" else ""
        if kind in floats and node not in sources:
            assert {str(user.target).split(".")[1] for user in node.users} <= {"relu6", "relu", "div"}


def test_scales_serve_another_size_and_refuse_another_network() -> None:
    order, x = spread("order"), frames()
    rounded = prepare(order, size=SIZE).train()
    rounded(x)
    scales = rounded.eval().scales()
    other = prepare(order, size=(32, 96), scales=scales).eval()
    assert other(torch.zeros(1, 3, 32, 96)).shape == (1, 1, 32, 96)
    assert other.scales() == scales
    with pytest.raises(BadInput, match="scales are of another network"):
        prepare(spread("unet"), size=SIZE, scales=scales)


def test_a_network_that_saw_no_images_has_no_scales() -> None:
    with pytest.raises(BadInput, match="no range was learnt"):
        prepare(spread("unet"), size=SIZE).scales()


def test_the_parameters_keep_their_names() -> None:
    deployed = spread("order")
    assert prepare(deployed, size=SIZE).deployed_state().keys() == deployed.state_dict().keys()


@pytest.mark.parametrize("kernel", [(1, 7), (7, 1), (3, 5), (5, 5)])
def test_a_depthwise_convolution_of_any_shape_learns(kernel: tuple[int, int]) -> None:
    x, weight = torch.randn(1, 4, 9, 11), torch.randn(4, 1, *kernel, requires_grad=True)
    padding = (kernel[0] // 2, kernel[1] // 2)
    y = _convolve(x, weight, None, (1, 1), padding, (1, 1), 4)
    torch.testing.assert_close(y, F.conv2d(x, weight, padding=padding, groups=4))
    y.square().sum().backward()
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0


def test_a_network_with_buffers_is_refused_before_it_is_trained() -> None:
    class Blurred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 1, 1)
            self.register_buffer("kernel", torch.full((1, 1, 3, 3), 1 / 9))

        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(self.conv(x), self.kernel, padding=1)

    with pytest.raises(BadInput, match=r"has buffers \(kernel\)"):
        prepare(Blurred(), size=(32, 32))
