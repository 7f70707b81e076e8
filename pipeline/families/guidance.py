"""Classifier-free guidance (Ho and Salimans 2022) for the pictures that a training itself draws: prior and previews."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from pipeline.families.model_components import Conditioning, ModelComponents

GUIDANCE_SCALE = 3.0


def guided(components: ModelComponents, prompts: Conditioning, rows: Sequence[int]) -> Callable[..., torch.Tensor]:
    """A function of noisy latents (n, c, h, w) and timesteps (n,) that gives guided predictions (n, c, h, w).

    `rows` has for each latent the row of its prompt in `prompts`, whose first row is the empty prompt. Guidance is
    computed in float32 whatever the precision of the model, since it multiplies the rounding errors of half precision.
    """
    both = prompts[torch.tensor([0] * len(rows) + list(rows), device=components.device)]

    def predict(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        prediction = components.family.predict(components, torch.cat([x_t, x_t]), torch.cat([t, t]), both)
        unconditional, conditional = prediction.float().chunk(2)
        return unconditional + GUIDANCE_SCALE * (conditional - unconditional)

    return predict
