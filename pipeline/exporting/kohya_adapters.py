"""Adapters under kohya's names, which ComfyUI, AUTOMATIC1111 and sd-scripts read (LyCORIS' for LoKr and LoHa).

    unet.down_blocks.0.….attn1.to_q.lora.down.weight   ->   lora_unet_down_blocks_0_…_attn1_to_q.lora_down.weight

and beside each layer's matrices `.alpha`: readers multiply by alpha / rank, the rank being that of the matrices. They
agree on this for LoRA. With LoKr and LoHa LyCORIS multiplies twice when it merges, and nobody where LoKr's matrices are
whole; so the scale is in the first matrix there, and alpha is the rank.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch

from pipeline.core.errors import InputError

ADAPTER_NAME = re.compile(
    r"(?P<module>unet|text_encoder(?:_2)?)\.(?P<layer>.+?)\."
    r"(?P<matrix>lora_[AB]\.weight|lora(?:_linear_layer)?\.(?:down|up)\.weight"
    r"|(?:lokr|hada)_\w+)"
)
RANK_FIRST = ("lora_down.weight", "lokr_w2_b", "lokr_w1_b", "hada_w1_b")  # their first dimension is the rank
SCALED = ("lokr_w1", "lokr_w1_a", "hada_w1_a")  # one of them stands in every layer of LoKr and LoHa


def to_kohya(
    tensors: Mapping[str, torch.Tensor], configs: Mapping[str, Mapping[str, Any]], prefixes: Mapping[str, str]
) -> dict[str, torch.Tensor]:
    """A snapshot's tensors, and the peft config of each module in it (`unet`, `text_encoder` …), renamed.

    `prefixes`: what the names of each module's layers begin with (`Family.adapter_prefixes`).

    Raises
    ------
    InputError
        When the adapters are DoRA, which the programs that read these files compute in other ways than peft: along
        the other axis, or by the norm of the base's weights. The pictures would differ.
    """
    if any(config.get("use_dora") for config in configs.values()):
        raise InputError("files in kohya's format have no DoRA that draws the same pictures; take --format single-file")
    layers: dict[tuple[str, str], dict[str, torch.Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        module, layer, matrix = _split_name(name)
        layers[module, layer][matrix] = tensor
    return {
        f"{_layer_name(prefixes[module], module, layer)}.{name}": tensor
        for (module, layer), matrices in layers.items()
        for name, tensor in _with_alpha(matrices, configs[module]).items()
    }


def _split_name(name: str) -> tuple[str, str, str]:
    """`unet.mid_block.….to_q.lora.up.weight` -> `unet`, `mid_block.….to_q`, `lora_up.weight`."""
    match = ADAPTER_NAME.fullmatch(name)
    if match is None:
        raise InputError(f"the snapshot has {name!r}, which is no adapter; train it again with this version")
    matrix = match["matrix"]
    if matrix.startswith("lora"):
        matrix = "lora_down.weight" if matrix.endswith(("down.weight", "A.weight")) else "lora_up.weight"
    return match["module"], match["layer"], matrix


def _layer_name(prefix: str, module: str, layer: str) -> str:
    # transformers 5 has dropped `text_model.` from some encoders' names; every reader expects it.
    if module != "unet" and not layer.startswith("text_model."):
        layer = f"text_model.{layer}"
    return f"{prefix}_{layer.replace('.', '_')}"


def _with_alpha(matrices: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The matrices of one layer and its alpha, which together make the update that was trained."""
    rank = next((len(matrices[name]) for name in RANK_FIRST if name in matrices), config["r"])
    first = next((name for name in SCALED if name in matrices), None)
    if first is None:
        return {**matrices, "alpha": torch.tensor(float(_scale(config) * rank))}
    return {**matrices, first: matrices[first].float() * _scale(config), "alpha": torch.tensor(float(rank))}


def _scale(config: Mapping[str, Any]) -> float:
    """What peft multiplies the update by."""
    alpha = config.get("lora_alpha", config.get("alpha"))
    return alpha / (math.sqrt(config["r"]) if config.get("use_rslora") else config["r"])
