"""Modules on the meta device, without weights (as accelerate's `init_empty_weights`).

Params are checked against a base's layers before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.core.errors import InputError
from pipeline.core.weight_files import read_json


def empty_unet(folder: Path) -> nn.Module:
    """The UNet of a diffusers folder; InputError when its config is missing or makes no model."""
    from diffusers import UNet2DConditionModel

    config = read_json(folder, "unet/config.json")
    with _on_meta(folder, "unet"):
        made: nn.Module = UNet2DConditionModel.from_config(config)
        return made


def empty_text_encoder(kind: Callable[[Any], nn.Module], folder: Path, name: str) -> nn.Module:
    """The CLIP text encoder of class `kind` in the subfolder `name`; InputError as `empty_unet`."""
    from transformers import CLIPTextConfig

    config = read_json(folder, f"{name}/config.json")
    with _on_meta(folder, name):
        return kind(CLIPTextConfig.from_dict(config))


@contextmanager
def _on_meta(folder: Path, name: str) -> Iterator[None]:
    try:
        with torch.device("meta"):
            yield
    except (TypeError, ValueError) as error:
        detail = " ".join(str(error).split())
        raise InputError(f"{str(folder)!r} has a {name}/config.json that makes no model: {detail}") from error
