from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed
from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.errors import BadInput
from lawder_edge.graph.ir import Graph
from lawder_edge.graph.lower import lower
from lawder_edge.graph.reference import dequantize, quantize, run, trace
from lawder_edge.quantization.convert import to_program
from lawder_edge.quantization.prepare import prepare

Function = Callable[[Tensor], Tensor]


class Net(nn.Module):
    """A convolution, any function of (1, 8, 12, 16), and a head where that gives a picture again.

    Seeded, and so are the weights of a function that has some: it may have been made before any seed was set.
    """

    def __init__(self, function: Function, *, head: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.weight = nn.Parameter(torch.randn(8, 1, 1))
        self.function = function
        self.head = nn.Conv2d(8, 2, 1) if head else nn.Identity()
        for part in function.modules() if isinstance(function, nn.Module) else ():
            if isinstance(part, nn.Conv2d):
                part.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.function(self.stem(x)))
        return out


def picture() -> Tensor:
    return torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def lowered(net: nn.Module) -> Graph:
    return lower(torch.export.export(net.eval(), (picture(),)), name="net")


def nhwc(x: Tensor) -> np.ndarray:
    values = x.detach().numpy()
    return np.ascontiguousarray(values.transpose(0, 2, 3, 1) if values.ndim == 4 else values)


def kinds(graph: Graph) -> list[str]:
    return [op.kind for op in graph.ops]


def check(net: nn.Module) -> Graph:
    graph = lowered(net)
    expected = net(picture()).detach()
    np.testing.assert_allclose(run(graph, [nhwc(picture())])[0], nhwc(expected), atol=2e-5)
    return graph


def tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


class SigmoidAttention(nn.Module):
    """ORDER's: a map of sigmoids, values of a convolution, the sum divided by the number of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.values = nn.Conv2d(8, 8, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        cells = F.avg_pool2d(x, 2)
        b, c, h, w = cells.shape
        t = tokens(cells)
        mixed = torch.sigmoid(t @ t.transpose(1, 2)) @ tokens(self.values(cells)) / (h * w)
        return F.interpolate(mixed.transpose(1, 2).reshape(b, c, h, w), scale_factor=2.0, mode="bilinear")


def attention(x: Tensor) -> Tensor:
    t = tokens(x)
    return (torch.softmax(t @ t.transpose(1, 2) / 8, -1) @ t).transpose(1, 2).reshape(x.shape)


def shuffle(x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


FUNCTIONS: dict[str, Function] = {
    "relu": F.relu,
    "relu6 after a pool": lambda x: F.relu6(F.max_pool2d(x, 2)),
    "clamp at zero": lambda x: x.clamp(min=0),
    "sigmoid": torch.sigmoid,
    "numbers": lambda x: 1 - (x * 0.5 + 2) / 3,
    "strided convolution": nn.Conv2d(8, 4, 3, stride=2, padding=1),
    "convolution that pads too much": nn.Conv2d(8, 4, 3, padding=2),
    "dilated convolution": nn.Conv2d(8, 4, 3, padding=2, dilation=2),
    "depthwise convolution": nn.Conv2d(8, 8, 3, padding=1, groups=8),
    "depthwise convolution with two results a channel": nn.Conv2d(8, 16, 3, padding=1, groups=8),
    "grouped convolution": nn.Conv2d(8, 4, 3, padding=1, groups=2),
    "convolution without a bias": nn.Conv2d(8, 4, 1, bias=False),
    "convolution padded by name": nn.Conv2d(8, 4, 5, padding="same"),
    "average pool": lambda x: F.avg_pool2d(x, 4),
    "average pool that counts the border": lambda x: F.avg_pool2d(x, 3, 1, padding=1),
    "average pool that does not": lambda x: F.avg_pool2d(x, 3, 1, padding=1, count_include_pad=False),
    "strided average pool that counts the border": lambda x: F.avg_pool2d(x, 3, 2, padding=1),
    "strided average pool of an odd picture that does not": lambda x: F.avg_pool2d(
        F.pad(x, (1, 0, 1, 0)), 3, 2, padding=1, count_include_pad=False
    ),
    "max pool with a border": lambda x: F.max_pool2d(x, 3, 1, padding=1),
    "adaptive pools": lambda x: F.adaptive_avg_pool2d(x, 1) + F.adaptive_avg_pool2d(x, (3, 4)),
    "means": lambda x: x * x.mean((2, 3), keepdim=True) + x.mean(1, keepdim=True),
    "mean without its axes": lambda x: x.mean((2, 3)),
    "mean and maximum of everything": lambda x: x * x.mean() + x.amax(),
    "maxima": lambda x: torch.cat([x.amax(1, keepdim=True), x * x.amax((2, 3), keepdim=True)], 1),
    "bilinear": lambda x: F.interpolate(x, scale_factor=4.0, mode="bilinear"),
    "bilinear to a size": lambda x: F.interpolate(x, size=(36, 48), mode="bilinear"),
    "bilinear with aligned corners": lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True),
    "nearest": lambda x: F.interpolate(x, scale_factor=2.0),
    "zero padding": lambda x: F.pad(x, (1, 2, 3, 0)),
    "attention": attention,
    "turned product": lambda x: tokens(x).transpose(1, 2) @ tokens(x),
    "channel shuffle": shuffle,
    "permutation": lambda x: x.permute(0, 2, 3, 1) * 2,
    "softmax over channels": lambda x: torch.softmax(x, 1),
    "squeezed and unsqueezed": lambda x: x.squeeze(0).unsqueeze(0) - 1,
    "no operation": lambda x: F.dropout(x.contiguous().clone(), training=False),
    "dropout of channels": nn.Dropout2d(),
    "dropout of channels in place": nn.Sequential(nn.Dropout2d(inplace=True), nn.Dropout(inplace=True)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_operator_gives_pytorchs_numbers(name: str) -> None:
    check(Net(FUNCTIONS[name]))


def test_tokens_and_products_need_no_transposition() -> None:
    found = kinds(check(Net(attention)))
    assert "transpose" not in found
    assert "transpose" not in kinds(check(Net(FUNCTIONS["turned product"])))


def test_a_channel_shuffle_needs_one() -> None:
    assert kinds(check(Net(shuffle))).count("transpose") == 1


def test_activations_and_factors_leave_no_operator_of_their_own() -> None:
    assert kinds(check(Net(lambda x: F.relu6(x / 4)))) == ["conv2d"]
    assert "mul" not in kinds(check(Net(SigmoidAttention())))


def test_a_parameter_is_a_constant() -> None:
    class Scaled(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.stem(x) * self.weight

    graph = check(Scaled(F.relu))
    assert kinds(graph) == ["conv2d", "mul"]


def test_dead_code_goes() -> None:
    def function(x: Tensor) -> Tensor:
        torch.sigmoid(x.mean(1))
        return x

    assert kinds(check(Net(function))) == ["conv2d"]


def test_in_place_operators_are_taken() -> None:
    net = Net(lambda x: F.relu(x, inplace=True))
    assert kinds(check(net)) == ["conv2d"]


def test_the_input_is_image_the_output_logits() -> None:
    graph = lowered(Net(F.relu))
    assert (graph.inputs, graph.outputs) == (("image",), ("logits",))
    assert graph.tensor("image").shape == (1, 12, 16, 3)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: torch.cumsum(x, 1), r"operator aten.cumsum in the network itself cannot be lowered.*conv2d"),
        (lambda x: x.clamp(-1, 1), r"aten.clamp in .*: a clamp to \(-1, 1\); wanted ReLU or ReLU6"),
        (lambda x: F.max_pool2d(x, 3, 2, padding=1), "padding of .* wanted"),
        (
            lambda x: F.avg_pool2d(x, 3, 2, padding=1, count_include_pad=False),
            r"aten.avg_pool2d in .*: padding of \(1, 1\) .* or an average pool with count_include_pad",
        ),
        (lambda x: x / (x + 9), "a division by a tensor; wanted"),
        (lambda x: F.avg_pool2d(x, 5, ceil_mode=True), "ceil_mode"),
        (lambda x: F.interpolate(x, scale_factor=1.3, mode="bilinear"), "a factor that gives a whole number"),
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), "cannot be lowered|wanted zeros"),
        (lambda x: F.conv2d(x, x[:, :, :3, :3]), "cannot be lowered"),
    ],
)
def test_what_a_graph_lacks_is_told_with_operator_and_module(function: Function, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        lowered(Net(function))


def test_an_error_names_the_module() -> None:
    class Inner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.erf(x)

    net = Net(F.relu, head=True)
    net.head = nn.Sequential(nn.Conv2d(8, 2, 1), Inner())
    with pytest.raises(BadInput, match=r"operator aten\.erf in head\.1 cannot be lowered"):
        lowered(net)


def test_a_batch_norm_is_told_how_it_goes_away() -> None:
    net = Net(F.relu)
    net.head = nn.BatchNorm2d(8)
    with pytest.raises(BadInput, match="to_deploy"):
        lowered(net)


def test_a_free_size_is_refused() -> None:
    program = torch.export.export(Net(F.relu).eval(), (picture(),), dynamic_shapes=({2: torch.export.Dim("h", min=2)},))
    with pytest.raises(BadInput, match="free length"):
        lower(program, name="net")


def test_views_see_what_an_in_place_operator_changes() -> None:
    def function(x: Tensor) -> Tensor:
        y = x * 2
        view = y.view(1, 8, -1)
        F.relu(y, inplace=True)
        return view + y.view(1, 8, -1)

    check(Net(function))


def integer(function: Function, *, head: bool = True) -> tuple[Graph, np.ndarray]:
    """The int8 graph of a Net whose ranges are learnt from its picture, and what PyTorch's rounding gives."""
    net = Net(function, head=head).eval()
    x = (picture() * 128).round().clamp(-128, 127) / 128
    learning = prepare(net, size=(12, 16)).train()
    learning(torch.cat([x, x]))
    program = to_program(net, learning.scales(), example=x)
    return lower(program, name="net"), nhwc(program.module()(x))


def run_integer(graph: Graph) -> np.ndarray:
    image, logits = graph.tensor("image"), graph.tensor("logits")
    x = (picture() * 128).round().clamp(-128, 127) / 128
    return dequantize(run(graph, [quantize(nhwc(x), image)])[0], logits)


@pytest.mark.parametrize(
    "function",
    [
        F.relu6,
        lambda x: F.relu6(F.max_pool2d(x, 2)),
        lambda x: F.relu(F.interpolate(x, scale_factor=2.0, mode="bilinear")),
        lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True) + x.amax((2, 3), keepdim=True)),
        lambda x: x * 0.5 + 2,
        SigmoidAttention(),
        shuffle,
    ],
)
def test_an_integer_graph_is_pytorchs_rounding_to_a_step_or_two(function: Function) -> None:
    graph, expected = integer(function)
    assert {t.dtype for t in graph.tensors} == {"int8", "int32"}
    steps = np.abs(run_integer(graph) - expected) / graph.tensor("logits").scale
    assert steps.max() <= 2.01
    # PyTorch rounds halves to even, TFLite away from zero; resizing gives many.
    assert np.mean(steps < 0.5) > 0.85


def test_the_input_of_an_integer_graph_steps_by_a_128th() -> None:
    image = integer(F.relu)[0].tensor("image")
    assert (image.dtype, image.scale, image.zero_point) == ("int8", 1 / 128, 0)


def test_in_integers_the_token_count_goes_into_the_scales_of_the_values() -> None:
    graph = integer(SigmoidAttention())[0]
    assert "mul" not in kinds(graph)
    assert "transpose" not in kinds(graph)


def test_trace_gives_every_tensor_once_in_order() -> None:
    graph = integer(F.relu)[0]
    x = np.zeros((1, 12, 16, 3), np.int8)
    assert [t.name for t, _ in trace(graph, [x])] == ["image", *(op.outputs[0] for op in graph.ops)]


def test_a_bias_beside_no_weights_fits_into_int32() -> None:
    net = Net(F.relu, head=True).eval()
    with torch.no_grad():
        net.stem.weight[3] = 0
        net.stem.bias[3] = 50.0
    x = picture()
    learning = prepare(net, size=(12, 16)).train()
    learning(x)
    graph = lower(to_program(net, learning.scales(), example=x), name="net")
    bias = graph.tensor(graph.ops[0].inputs[2])
    assert bias.quantization is not None
    real = np.asarray(bias.data) * np.array(bias.quantization.scale)
    np.testing.assert_allclose(real, net.stem.bias.detach().numpy(), atol=1e-4)


def test_scales_that_a_kernel_cannot_follow_are_told_with_both() -> None:
    ops = torch.ops.quantized_decomposed

    class Pooled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            for scale, pool in ((1 / 128, True), (1 / 64, False)):
                rule = (scale, 0, -128, 127, torch.int8)
                x = ops.dequantize_per_tensor(ops.quantize_per_tensor(x, *rule), *rule)
                x = F.avg_pool2d(x, 2) if pool else x
            return x

    with pytest.raises(BadInput, match=r"average_pool2d.*0\.0078125.*0\.015625.*one quantiser"):
        lowered(Pooled())


def test_a_tensor_that_is_quantised_twice_is_told() -> None:
    ops = torch.ops.quantized_decomposed

    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            for scale in (1 / 128, 1 / 64):
                rule = (scale, 0, -128, 127, torch.int8)
                x = ops.dequantize_per_tensor(ops.quantize_per_tensor(x, *rule), *rule)
            return F.relu(x)

    with pytest.raises(BadInput, match="quantised twice"):
        lowered(Twice())
