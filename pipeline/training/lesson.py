"""What a step asks of a latent diffusion model: noise some examples, let it answer, compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import torch
import torch.nn.functional as F

from pipeline.diffusion.objective import Objective
from pipeline.families.parts import Conditioning, Parts
from pipeline.training.batches import Draw, Examples, batch_at, example_at

Prompts = Callable[[Parts, torch.Tensor], Conditioning]  # rows of the sentences -> what the UNet reads


@dataclass(frozen=True)
class Lesson:
    """The loss of some slots of a step, as the loop asks for it."""

    family: ModuleType
    objective: Objective
    examples: Examples
    draw: Draw
    prompts: Prompts

    def __call__(self, parts: Parts, step: int, slots: Sequence[int]) -> torch.Tensor:
        """Mean over the slots, a number with gradients."""
        batch = batch_at(step, slots, self.examples, self.draw, self.objective.n_timesteps)
        conditioning = self.prompts(parts, batch.texts)
        noisy = self.objective.add_noise(batch.clean, batch.noise, batch.timesteps)
        predicted = self.family.predict(parts, noisy, batch.timesteps, conditioning)
        return F.mse_loss(predicted.float(), self.objective.target(batch.clean, batch.noise, batch.timesteps))

    def seen(self, step: int) -> list[str]:
        """The examples of a whole step, by name."""
        positions = range(step * self.draw.batch_size, (step + 1) * self.draw.batch_size)
        return [self.examples.names[example_at(position, self.examples, self.draw)] for position in positions]
