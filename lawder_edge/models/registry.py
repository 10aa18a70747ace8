"""The models by name."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from lawder_edge.errors import BadInput
from lawder_edge.models.lite0_unet import Lite0UNet
from lawder_edge.models.mk_order import WIDTHS, MKOrder
from lawder_edge.models.mk_unet import MKUNet
from lawder_edge.models.order import Order
from lawder_edge.models.unet import UNet

MK_UNET = "https://arxiv.org/abs/2509.18493"
LAW_AND_ORDER = "https://arxiv.org/abs/2603.04795"


@dataclass(frozen=True)
class ModelRecord:
    """One model. `params` is its parameter count at 3 channels in, 1 class out; tests hold it.

    `build` takes the keywords in_channels and num_classes. `float_only` models are not quantised. `imagenet`: the
    attribute that holds a Lite0Trunk; training starts it from ImageNet weights.
    """

    name: str
    build: Callable[..., nn.Module]
    params: int
    paper: str
    description: str
    float_only: bool = False
    imagenet: str = ""


def _mk_unet(*widths: int) -> Callable[..., nn.Module]:
    return lambda **options: MKUNet(widths, **options)


_RECORDS = (
    ModelRecord("order", Order, 41_732, LAW_AND_ORDER, "U-Net below full size + late skip attention, for devices"),
    ModelRecord(
        "mk_order", MKOrder, 42_016, LAW_AND_ORDER, "MK-UNet + late skip attention on pooled tokens: the paper's plan"
    ),
    ModelRecord(
        "mk_order_full",
        lambda **options: MKOrder(token_stride=0, normaliser="softmax", **options),
        42_014,
        LAW_AND_ORDER,
        "mk_order with every position a token: the paper's 0.56 GFLOPs",
        float_only=True,
    ),
    ModelRecord("mk_unet_wide", _mk_unet(*WIDTHS), 40_340, MK_UNET, "mk_order's widths without its adapters"),
    ModelRecord("mk_unet_t", _mk_unet(4, 8, 16, 24, 32), 27_384, MK_UNET, "MK-UNet-T"),
    ModelRecord("mk_unet_s", _mk_unet(8, 16, 32, 48, 80), 93_050, MK_UNET, "MK-UNet-S"),
    ModelRecord("mk_unet", _mk_unet(16, 32, 64, 96, 160), 315_566, MK_UNET, "MK-UNet"),
    ModelRecord("mk_unet_m", _mk_unet(32, 64, 128, 192, 320), 1_150_166, MK_UNET, "MK-UNet-M"),
    ModelRecord("mk_unet_l", _mk_unet(64, 128, 256, 384, 512), 3_758_118, MK_UNET, "MK-UNet-L"),
    ModelRecord("unet", UNet, 110_385, "https://arxiv.org/abs/1505.04597", "small plain U-Net"),
    ModelRecord(
        "lite0_unet",
        Lite0UNet,
        3_594_521,
        "https://arxiv.org/abs/1905.11946",
        "U-Net on an EfficientNet-Lite0 encoder, to teach small networks",
        float_only=True,
        imagenet="encoder",
    ),
)
MODELS: dict[str, ModelRecord] = {record.name: record for record in _RECORDS}


def create_model(name: str, *, in_channels: int = 3, num_classes: int = 1) -> nn.Module:
    """A model with fresh weights, by its name here or as `package.module:Class` for a network of your own.

    An own network is called with in_channels and num_classes, or without arguments if it takes none of them; it maps
    (B, in_channels, H, W) in [-1, 1] to (B, num_classes, H, W) logits.

    Raises: BadInput for an unknown name, with the closest known one.
    """
    if ":" in name:
        return _import_model(name, in_channels=in_channels, num_classes=num_classes)
    record = MODELS.get(name)
    if record is None:
        close = difflib.get_close_matches(name, MODELS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise BadInput(
            f"unknown model {name!r}.{hint} Known: {', '.join(MODELS)}; or package.module:Class for your own."
        )
    return record.build(in_channels=in_channels, num_classes=num_classes)


def _import_model(name: str, *, in_channels: int, num_classes: int) -> nn.Module:
    import inspect

    module_name, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise BadInput(
            f"model {name!r} cannot be imported ({error}). Wanted package.module:Class, importable from here; add its "
            "folder to PYTHONPATH."
        ) from error
    if not callable(factory) or (inspect.isclass(factory) and not issubclass(factory, nn.Module)):
        raise BadInput(f"model {name!r} is {factory!r}; wanted a torch.nn.Module class or a function.")
    options = {"in_channels": in_channels, "num_classes": num_classes}
    accepted = inspect.signature(factory).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values())
    model = factory(**{k: v for k, v in options.items() if takes_any or k in accepted})
    if not isinstance(model, nn.Module):
        raise BadInput(f"model {name!r} gave a {type(model).__name__}; wanted a torch.nn.Module.")
    return model
