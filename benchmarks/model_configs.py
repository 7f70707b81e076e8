"""Published configs of Stable Diffusion, and smaller models of the same architecture.

`SD15` and `SDXL` have the numbers of `config.json` in runwayml/stable-diffusion-v1-5 and
stabilityai/stable-diffusion-xl-base-1.0; tests count their parameters. `SMALL` costs a CPU half a second per step; the
cost of its VAE's encoder is to that of its UNet as in SD 1.5 (see `random_models.cost`), and its attention heads are
nearly as wide. `TINY` and `TINY_XL` are for tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Config = dict[str, Any]


@dataclass(frozen=True)
class ModelConfig:
    """The configs of a model's components; `side_px` is the side of the pictures that it is measured on."""

    family: str
    side_px: int
    unet: Config
    vae: Config
    texts: tuple[Config, ...]


def _vae(channels: tuple[int, ...], scaling: float, side_px: int, groups: int = 32) -> Config:
    n = len(channels)
    return {
        "block_out_channels": channels,
        "latent_channels": 4,
        "layers_per_block": 2,
        "norm_num_groups": groups,
        "down_block_types": ("DownEncoderBlock2D",) * n,
        "up_block_types": ("UpDecoderBlock2D",) * n,
        "scaling_factor": scaling,
        "sample_size": side_px,
    }


def _clip(width: int, layers: int, heads: int, act: str, projection: int, vocabulary: int = 49408) -> Config:
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "hidden_act": act,
        "projection_dim": projection,
        "max_position_embeddings": 77,
    }


def _unet(channels: tuple[int, ...], width: int, heads: Any, side_px: int, **more: Any) -> Config:
    """SD 1.x: attention at all levels but the deepest. `heads` is called attention_head_dim, and is their number."""
    n = len(channels) - 1
    return {
        "sample_size": side_px // 8,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": channels,
        "layers_per_block": 2,
        "cross_attention_dim": width,
        "attention_head_dim": heads,
        "down_block_types": ("CrossAttnDownBlock2D",) * n + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * n,
        **more,
    }


def _unet_xl(channels: tuple[int, ...], width: int, heads: Any, side_px: int, deep: Any, pooled: int) -> Config:
    """SDXL: none at the widest level, several layers at the others; the sentence and six sizes join the timestep."""
    n, ids = len(channels) - 1, 256
    return _unet(channels, width, heads, side_px) | {
        "down_block_types": ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * n,
        "up_block_types": ("CrossAttnUpBlock2D",) * n + ("UpBlock2D",),
        "transformer_layers_per_block": deep,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": ids,
        "projection_class_embeddings_input_dim": 6 * ids + pooled,
    }


CLIP_L = _clip(768, 12, 12, "quick_gelu", 768)
BIG_G = _clip(1280, 32, 20, "gelu", 1280)
SD_VAE = (128, 256, 512, 512)

SD15 = ModelConfig("sd", 512, _unet((320, 640, 1280, 1280), 768, 8, 512), _vae(SD_VAE, 0.18215, 512), (CLIP_L,))
SDXL = ModelConfig(
    "sdxl",
    1024,
    _unet_xl((320, 640, 1280), 2048, (5, 10, 20), 1024, (1, 2, 10), 1280),
    _vae(SD_VAE, 0.13025, 1024),
    (CLIP_L, BIG_G),
)
SMALL = ModelConfig(
    "sd",
    192,
    _unet((64, 128, 256, 256), 128, 2, 192, norm_num_groups=16),
    _vae((32, 48, 80, 80), 0.18215, 192, groups=16),
    (_clip(128, 2, 4, "quick_gelu", 128, vocabulary=256),),
)
TINY = ModelConfig(
    "sd",
    32,
    _unet((16, 32), 32, 2, 32, norm_num_groups=8),
    _vae((8, 8, 8, 8), 0.18215, 32, groups=4),
    (_clip(32, 1, 2, "quick_gelu", 32, vocabulary=64),),
)
TINY_XL = ModelConfig(
    "sdxl",
    32,
    _unet_xl((16, 32), 64, (2, 2), 32, (1, 1), 32) | {"norm_num_groups": 8},
    _vae((8, 8, 8, 8), 0.13025, 32, groups=4),
    (_clip(32, 1, 2, "quick_gelu", 32, vocabulary=64),) * 2,
)
