"""Classifier-free guidance (Ho and Salimans 2022), as the training itself draws: prior pictures and previews."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from pipeline.families.model_components import Conditioning, ModelComponents

GUIDANCE = 3.0


def guided(components: ModelComponents, told: Conditioning, texts: Sequence[int]) -> Callable[..., torch.Tensor]:
    """Answers to noisy latents (n, c, h, w) at timesteps (n,), float32 whatever the precision of the model.

    `texts` has for each of them the row of its sentence in `told`, whose first row is the empty sentence. What half
    precision rounds off would be multiplied by the guidance.
    """
    both = told[torch.tensor([0] * len(texts) + list(texts), device=components.device)]

    def predict(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        answer = components.family.predict(components, torch.cat([x_t, x_t]), torch.cat([t, t]), both)
        blind, led = answer.float().chunk(2)
        return blind + GUIDANCE * (led - blind)

    return predict
