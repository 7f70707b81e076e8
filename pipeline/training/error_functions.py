"""How far an answer is from what was asked for, and what of it counts."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from pipeline.core.training_params import Loss
from pipeline.diffusion.objective import Objective


def mean_error(
    settings: Loss,
    objective: Objective,
    predicted: torch.Tensor,
    target: torch.Tensor,
    t: torch.Tensor,
    masks: torch.Tensor | None = None,
) -> torch.Tensor:
    """One number for answers (n, c, h, w) at timesteps (n,); `masks` (n, 1, h, w) have a mean of one each.

    Huber's error (1964) is half the square up to `huber_delta` and grows no faster than the distance beyond.
    """
    how = {} if settings.kind == "mse" else {"delta": settings.huber_delta}
    distance = F.mse_loss if settings.kind == "mse" else F.huber_loss
    if masks is None and not settings.min_snr_gamma:
        return distance(predicted, target, **how)
    errors = distance(predicted, target, reduction="none", **how)
    each = (errors if masks is None else errors * masks).mean(dim=(1, 2, 3))
    if settings.min_snr_gamma:
        each = each * objective.min_snr_weights(t, settings.min_snr_gamma)
    return each.mean()
