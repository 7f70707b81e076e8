"""Learnt words as AUTOMATIC1111 and ComfyUI read them: one file for a word, and the file's name is the word."""

from __future__ import annotations

from collections.abc import Mapping

import torch

ONE_ENCODER = "emb_params"


def kohya(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`{"<dodo>": (n, width)}` -> `{"emb_params": …}`; what is learnt for two encoders has its names already."""
    if len(tensors) > 1:
        return dict(tensors)
    return {ONE_ENCODER: next(iter(tensors.values()))}
