"""Networks: MK-UNet, ORDER and a plain U-Net. Knows nothing but torch."""

from lawder_edge.models.registry import MODELS, ModelRecord, create_model

__all__ = ["MODELS", "ModelRecord", "create_model"]
