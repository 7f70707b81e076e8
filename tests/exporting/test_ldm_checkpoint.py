"""The original layout: diffusers' converter finds every weight of the published models; shapes only, no numbers."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders import single_file_utils
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from pipeline.exporting import ldm_checkpoint
from pipeline.exporting.ldm_config import ldm_config
from pipeline.families import family

CROSS_DOWN, CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
V1 = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "down_block_types": (CROSS_DOWN,) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + (CROSS_UP,) * 3,
}
V2 = {**V1, "cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}
XL = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "cross_attention_dim": 2048,
    "attention_head_dim": [5, 10, 20],
    "use_linear_projection": True,
    "transformer_layers_per_block": [1, 2, 10],
    "down_block_types": ("DownBlock2D", CROSS_DOWN, CROSS_DOWN),
    "up_block_types": (CROSS_UP, CROSS_UP, "UpBlock2D"),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}


def _clip(width: int, layers: int, act: str, kind=CLIPTextModel):
    return kind(
        CLIPTextConfig(
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            hidden_act=act,
            projection_dim=width,
        )
    )


@pytest.fixture(scope="module", params=["v1", "v2", "xl"])
def model(request):
    """UNet, VAE, text encoders and the checkpoint; shapes only, no memory."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**{"v1": V1, "v2": V2, "xl": XL}[request.param])
        vae = AutoencoderKL(**VAE)
        encoders = {
            "v1": lambda: [_clip(768, 12, "quick_gelu")],
            "v2": lambda: [_clip(1024, 23, "gelu")],
            "xl": lambda: [_clip(768, 12, "quick_gelu"), _clip(1280, 32, "gelu", CLIPTextModelWithProjection)],
        }[request.param]()
        described = [(encoder.state_dict(), encoder.config.to_dict()) for encoder in encoders]
        whole = ldm_checkpoint.to_ldm(unet.state_dict(), vae.state_dict(), described)
    return request.param, unet, vae, encoders, whole


def _shapes(state) -> dict[str, tuple[int, ...]]:
    return {name.removeprefix("text_model."): tuple(tensor.shape) for name, tensor in state.items()}


def test_the_converter_of_diffusers_finds_every_weight(model):
    _, unet, vae, _, whole = model
    back = single_file_utils.convert_ldm_unet_checkpoint(dict(whole), dict(unet.config))
    assert _shapes(back) == _shapes(unet.state_dict())
    assert _shapes(single_file_utils.convert_ldm_vae_checkpoint(dict(whole), dict(vae.config))) == _shapes(
        vae.state_dict()
    )


def test_it_finds_the_text_encoders_too(model):
    name, _, _, encoders, whole = model
    if name != "v2":
        assert _shapes(single_file_utils.convert_ldm_clip_checkpoint(whole)) == _shapes(encoders[0].state_dict())
    if name != "v1":
        prefix = "cond_stage_model.model." if name == "v2" else "conditioner.embedders.1.model."
        back = single_file_utils.convert_open_clip_checkpoint(encoders[-1], whole, prefix=prefix)
        assert _shapes(back) == _shapes(encoders[-1].state_dict())


def test_the_original_models_have_as_many_tensors(model):
    """1130, 1227 and 2513, apart from buffers: positions, schedules and logit scales."""
    name, _, _, _, whole = model
    assert len(whole) == {"v1": 1130, "v2": 1227, "xl": 2513}[name]
    assert whole["model.diffusion_model.output_blocks.5.2.conv.weight"].shape[0] == {"xl": 640}.get(name, 1280)
    assert whole["first_stage_model.decoder.mid.attn_1.proj_out.weight"].shape == (512, 512, 1, 1)


def test_the_kind_of_base_is_named_as_kohya_names_it(model):
    name, unet, _, _, _ = model
    known = family("sdxl" if name == "xl" else "sd").kohya_version(unet.config)
    assert known == {"v1": "sd_v1", "v2": "sd_v2", "xl": "sdxl_base_v1-0"}[name]
    assert family("sd").kohya_version({**unet.config, "block_out_channels": (16, 32)}) == ""


def test_the_values_of_openclip_are_the_same_after_converting_back(tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = _clip(128, 2, "gelu", CLIPTextModelWithProjection)
    state = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    stored = {f"x.{name}": tensor for name, tensor in ldm_checkpoint.openclip_tensors(state).items()}
    back = single_file_utils.convert_open_clip_checkpoint(encoder, stored, prefix="x.")
    assert back.keys() == state.keys() and all(torch.equal(back[name], state[name]) for name in back)


def test_the_config_beside_it_describes_the_same_model(model):
    name, unet, vae, _, whole = model
    if name == "xl":
        pytest.skip("XL says in its weights how it is sampled")
    scheduler = {"beta_start": 0.00085, "beta_end": 0.012, "prediction_type": "v_prediction"}
    config = ldm_config(unet.config, vae.config, scheduler, openclip=name == "v2")
    made = single_file_utils.create_unet_diffusers_config_from_ldm(config, whole)
    for key in ("block_out_channels", "down_block_types", "up_block_types"):
        assert list(made[key]) == list(unet.config[key])
    for key in ("attention_head_dim", "cross_attention_dim", "layers_per_block", "use_linear_projection"):
        assert made[key] == unet.config[key]
    again = single_file_utils.create_vae_diffusers_config_from_ldm(config, whole)
    assert list(again["block_out_channels"]) == list(vae.config["block_out_channels"])
    assert (again["latent_channels"], again["scaling_factor"]) == (4, vae.config["scaling_factor"])
