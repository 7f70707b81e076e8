"""A base's layers without its weights, so that params can be refused before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from pipeline.core.errors import InputError
from pipeline.families.model_folder import read_json


def skeleton(folder: Path, name: str) -> nn.Module:
    """One subfolder of a diffusers folder (`unet`, `text_encoder`, `text_encoder_2`), on no device, with no numbers.

    Raises
    ------
    InputError
        When its config is missing or makes no model.
    """
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = read_json(folder, f"{name}/config.json")
    try:
        with torch.device("meta"):
            if name == "unet":
                return UNet2DConditionModel.from_config(config)
            kind = CLIPTextModelWithProjection if name == "text_encoder_2" else CLIPTextModel
            return kind(CLIPTextConfig.from_dict(config))
    except (TypeError, ValueError) as error:
        detail = " ".join(str(error).split())
        raise InputError(f"{str(folder)!r} has a {name}/config.json that makes no model: {detail}") from error
