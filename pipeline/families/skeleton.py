"""A base's layers without its weights, so that params can be refused before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from pipeline.core.errors import InputError


def skeleton(folder: Path, name: str) -> nn.Module:
    """One subfolder of a diffusers folder (`unet`, `text_encoder`, `text_encoder_2`), on no device, with no numbers.

    Raises
    ------
    InputError
        When its config is missing or makes no model.
    """
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = _config(folder, name)
    try:
        with torch.device("meta"):
            if name == "unet":
                return UNet2DConditionModel.from_config(config)
            kind = CLIPTextModelWithProjection if name == "text_encoder_2" else CLIPTextModel
            return kind(CLIPTextConfig.from_dict(config))
    except (TypeError, ValueError) as error:
        detail = " ".join(str(error).split())
        raise InputError(f"{str(folder)!r} has a {name}/config.json that makes no model: {detail}") from error


def _config(folder: Path, name: str) -> dict:
    try:
        return json.loads((folder / name / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{str(folder)!r} has no {name}/config.json, so it is no whole model; download it again"
        ) from None
    except ValueError as error:
        raise InputError(f"{str(folder)!r} has a {name}/config.json that is no JSON: {error}") from error
