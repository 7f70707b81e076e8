"""Textual inversion embeddings as AUTOMATIC1111 and ComfyUI read them: the file's name is what prompts call it by."""

from __future__ import annotations

from collections.abc import Mapping

import torch

SINGLE_ENCODER = "emb_params"


def to_kohya(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`{"<dodo>": (n, width)}` -> `{"emb_params": …}`; embeddings for two encoders have their names already."""
    if len(tensors) > 1:
        return dict(tensors)
    return {SINGLE_ENCODER: next(iter(tensors.values()))}
