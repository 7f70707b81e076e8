"""The original (LDM) config that AUTOMATIC1111 needs beside a checkpoint that predicts velocity.

The weights do not say it themselves. The config names the original code's classes and their sizes. Programs look for
`model.yaml` beside `model.safetensors`; JSON is YAML.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


def ldm_config(unet: Config, vae: Config, scheduler: Config, *, openclip: bool) -> dict[str, Any]:
    """From the configs of a diffusers folder of Stable Diffusion 1.x or 2.x."""
    kind = "FrozenOpenCLIPEmbedder" if openclip else "FrozenCLIPEmbedder"
    layer = {"freeze": True, "layer": "penultimate"} if openclip else {}
    components = {
        "unet_config": _target("ldm.modules.diffusionmodules.openaimodel.UNetModel", _unet(unet)),
        "first_stage_config": _target("ldm.models.autoencoder.AutoencoderKL", _vae(vae)),
        "cond_stage_config": _target(f"ldm.modules.encoders.modules.{kind}", layer),
    }
    model = {
        "parameterization": "v" if scheduler.get("prediction_type") == "v_prediction" else "eps",
        "linear_start": scheduler["beta_start"],
        "linear_end": scheduler["beta_end"],
        "timesteps": scheduler.get("num_train_timesteps", 1000),
        "num_timesteps_cond": 1,
        "log_every_t": 200,
        "first_stage_key": "jpg",
        "cond_stage_key": "txt",
        "cond_stage_trainable": False,
        "conditioning_key": "crossattn",
        "image_size": unet["sample_size"],
        "channels": unet["in_channels"],
        "scale_factor": vae["scaling_factor"],
        "use_ema": False,
        **components,
    }
    return {"model": _target("ldm.models.diffusion.ddpm.LatentDiffusion", model)}


def _target(target: str, params: Config) -> dict[str, Any]:
    return {"target": target, "params": dict(params)}


def _unet(unet: Config) -> dict[str, Any]:
    channels = unet["block_out_channels"]
    attends = [2**level for level, kind in enumerate(unet["down_block_types"]) if "CrossAttn" in kind]
    heads = unet["attention_head_dim"]
    # diffusers reads a single number as the number of heads, a list as their numbers level by level.
    widths = {"num_heads": heads} if isinstance(heads, int) else {"num_head_channels": channels[0] // heads[0]}
    return {
        "image_size": 32,
        "in_channels": unet["in_channels"],
        "out_channels": unet["out_channels"],
        "model_channels": channels[0],
        "channel_mult": [width // channels[0] for width in channels],
        "attention_resolutions": attends[::-1],
        "num_res_blocks": unet["layers_per_block"],
        **widths,
        "use_spatial_transformer": True,
        "use_linear_in_transformer": unet.get("use_linear_projection", False),
        "transformer_depth": 1,
        "context_dim": unet["cross_attention_dim"],
        "use_checkpoint": False,
        "legacy": False,
    }


def _vae(vae: Config) -> dict[str, Any]:
    channels = vae["block_out_channels"]
    sizes = {
        "double_z": True,
        "z_channels": vae["latent_channels"],
        "resolution": 256,
        "in_channels": vae["in_channels"],
        "out_ch": vae["out_channels"],
        "ch": channels[0],
        "ch_mult": [width // channels[0] for width in channels],
        "num_res_blocks": vae["layers_per_block"],
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    return {"embed_dim": vae["latent_channels"], "ddconfig": sizes, "lossconfig": {"target": "torch.nn.Identity"}}
