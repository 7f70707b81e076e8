"""Whole models in the layout of the original Stable Diffusion (LDM) checkpoints: one file that every program reads.

    unet.…           ->  model.diffusion_model.…
    vae.…            ->  first_stage_model.…
    text_encoder.…   ->  cond_stage_model.…       (Stable Diffusion 1.x: OpenAI's CLIP, 2.x: OpenCLIP)
                         conditioner.embedders.…  (XL: one of each)

Which layer is which follows from the names alone, so models of any depth can be written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, takewhile
from typing import Any

import torch

Tensors = Mapping[str, torch.Tensor]

BLOCK = re.compile(
    r"(?P<layer>(?:down_blocks\.\d+|mid_block|up_blocks\.\d+)\.(?P<kind>resnets|attentions|downsamplers|upsamplers)\.\d+)"
    r"\.(?P<rest>.+)"
)
UNET_OUTER = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPENCLIP_OUTER = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
OPENCLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
OPENCLIP_H_LAYERS = 24


def to_ldm(
    unet: Tensors, vae: Tensors, encoders: Sequence[tuple[Tensors, Mapping[str, Any]]]
) -> dict[str, torch.Tensor]:
    """One state dict of the tensors of all components; each text encoder comes with its config.

    Older autoencoders' attention names (`query`, `proj_attn`) must have been converted, as loading does.
    """
    return {
        **{f"model.diffusion_model.{name}": tensor for name, tensor in unet_tensors(unet).items()},
        **{f"first_stage_model.{name}": tensor for name, tensor in vae_tensors(vae).items()},
        **(_one_encoder(*encoders[0]) if len(encoders) == 1 else _two_encoders(*encoders)),
    }


def unet_tensors(state: Tensors) -> dict[str, torch.Tensor]:
    """The UNet of diffusers with the names of the original one; the tensors are the same."""
    layers = _unet_layers(state)
    return {_unet_name(name, layers): tensor for name, tensor in state.items()}


def vae_tensors(state: Tensors) -> dict[str, torch.Tensor]:
    """The autoencoder; its attention is made of 1 x 1 convolutions there."""
    n_levels = 1 + max(int(level) for level in re.findall(r"decoder\.up_blocks\.(\d+)\.", " ".join(state)))
    renamed = {_vae_name(name, n_levels): tensor for name, tensor in state.items()}
    return {
        name: tensor[..., None, None] if "attn_1" in name and tensor.dim() == 2 else tensor
        for name, tensor in renamed.items()
    }


def is_openclip(config: Mapping[str, Any]) -> bool:
    """OpenAI's CLIP has its quick approximation of GELU, OpenCLIP's models the real one."""
    return config.get("hidden_act") == "gelu"


def clip_tensors(state: Tensors) -> dict[str, torch.Tensor]:
    """OpenAI's CLIP: the names of transformers up to its version 4."""
    return {f"transformer.text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in state.items()}


def openclip_tensors(state: Tensors) -> dict[str, torch.Tensor]:
    """OpenCLIP: queries, keys and values in one matrix, the projection transposed."""
    plain = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    tensors = {"text_projection": plain.pop("text_projection.weight").T} if "text_projection.weight" in plain else {}
    for name, tensor in plain.items():
        if name in OPENCLIP_OUTER:
            tensors[OPENCLIP_OUTER[name]] = tensor
        elif ".self_attn.q_proj." in name:
            stacked = torch.cat([plain[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"])
            tensors[_resblock(name).replace("self_attn.q_proj.", "attn.in_proj_")] = stacked
        elif not re.search(r"self_attn\.[kv]_proj", name):
            tensors[_renamed(_resblock(name), OPENCLIP_LAYER)] = tensor
    return tensors


def _one_encoder(state: Tensors, config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    if not is_openclip(config):
        return {f"cond_stage_model.{name}": tensor for name, tensor in clip_tensors(state).items()}
    tensors = _with_unused_last_layer(openclip_tensors(state), config["num_hidden_layers"])
    return {f"cond_stage_model.model.{name}": tensor for name, tensor in tensors.items()}


def _with_unused_last_layer(state: Tensors, n_layers: int) -> dict[str, torch.Tensor]:
    """Stable Diffusion 2 reads the last layer but one, so diffusers drops what follows; other programs need it.

    Nothing depends on its values: a copy of the layer before, and the projection that changes nothing.
    """
    if n_layers != OPENCLIP_H_LAYERS - 1:
        return dict(state)
    here, after = f"resblocks.{n_layers - 1}.", f"resblocks.{n_layers}."
    copies = {name.replace(here, after): tensor.clone() for name, tensor in state.items() if here in name}
    width = len(state["ln_final.weight"])
    return {**state, **copies, "text_projection": torch.eye(width, dtype=state["ln_final.weight"].dtype)}


def _two_encoders(first: tuple[Tensors, Any], second: tuple[Tensors, Any]) -> dict[str, torch.Tensor]:
    return {
        **{f"conditioner.embedders.0.{name}": tensor for name, tensor in clip_tensors(first[0]).items()},
        **{f"conditioner.embedders.1.model.{name}": tensor for name, tensor in openclip_tensors(second[0]).items()},
    }


def _unet_layers(names: Iterable[str]) -> dict[str, str]:
    """Where the layers of the blocks stand: `down_blocks.0.resnets.1` -> `input_blocks.2.0`."""
    layers = {match["layer"] for match in map(BLOCK.match, names) if match}
    places = {
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
    }
    row = 1  # row 0 is conv_in
    for block in _numbered("down_blocks.{}.resnets.0", layers):
        for index in _numbered(f"down_blocks.{block}.resnets.{{}}", layers):
            places |= _pair(f"down_blocks.{block}", index, f"input_blocks.{row}")
            row += 1
        if f"down_blocks.{block}.downsamplers.0" in layers:
            places[f"down_blocks.{block}.downsamplers.0"] = f"input_blocks.{row}.0"
            row += 1
    row = 0
    for block in _numbered("up_blocks.{}.resnets.0", layers):
        for index in _numbered(f"up_blocks.{block}.resnets.{{}}", layers):
            places |= _pair(f"up_blocks.{block}", index, f"output_blocks.{row}")
            row += 1
        attends = f"up_blocks.{block}.attentions.0" in layers
        places[f"up_blocks.{block}.upsamplers.0"] = f"output_blocks.{row - 1}.{2 if attends else 1}"
    return places


def _pair(block: str, index: int, place: str) -> dict[str, str]:
    return {f"{block}.resnets.{index}": f"{place}.0", f"{block}.attentions.{index}": f"{place}.1"}


def _numbered(pattern: str, layers: set[str]) -> Iterable[int]:
    """0, 1, 2 … as long as `layers` has the pattern with the number in it."""
    return takewhile(lambda number: pattern.format(number) in layers, count())


def _unet_name(name: str, layers: Mapping[str, str]) -> str:
    match = BLOCK.match(name)
    if match is None:
        head, _, end = name.rpartition(".")
        return f"{UNET_OUTER[head]}.{end}"
    rest = match["rest"]
    if match["kind"] == "resnets":
        rest = _renamed(rest, UNET_RESNET)
    elif match["kind"] == "downsamplers":
        rest = rest.replace("conv.", "op.")
    return f"{layers[match['layer']]}.{rest}"


def _vae_name(name: str, n_levels: int) -> str:
    name = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets", lambda m: f"up.{n_levels - 1 - int(m[1])}.block", name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{n_levels - 1 - int(m[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d+)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    if "mid_block.attentions.0." in name:
        before, _, after = name.partition("mid_block.attentions.0.")
        name = f"{before}mid.attn_1.{_renamed(after, VAE_ATTENTION)}"
    return name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")


def _resblock(name: str) -> str:
    return name.replace("encoder.layers.", "transformer.resblocks.")


def _renamed(name: str, names: Mapping[str, str]) -> str:
    """The name with the first of `names` that it contains as whole parts replaced."""
    found = next((old for old in names if re.search(rf"(^|\.){re.escape(old)}(\.|$)", name)), None)
    return name if found is None else name.replace(found, names[found])
