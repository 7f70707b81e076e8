"""The optimisers by name. Their whole state can be saved and put back: see state.py."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import torch

from pipeline.core.errors import ParamsError

Groups = list[dict[str, Any]]


def adamw(groups: Groups, rate: float) -> torch.optim.Optimizer:
    """Loshchilov and Hutter 2019."""
    # fused: one pass over the memory instead of a dozen, which is most of what AdamW costs on a CPU.
    return torch.optim.AdamW(groups, lr=rate, fused=True)


OPTIMISERS: dict[str, Callable[[Groups, float], torch.optim.Optimizer]] = {"adamw": adamw}


def optimiser(name: str) -> Callable[[Groups, float], torch.optim.Optimizer]:
    """The optimiser of this name; ParamsError names the nearest known one."""
    if name not in OPTIMISERS:
        near = difflib.get_close_matches(name, OPTIMISERS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(OPTIMISERS)}"
        raise ParamsError(f"train.optimiser is {name!r}, which is no optimiser; {hint}")
    return OPTIMISERS[name]
