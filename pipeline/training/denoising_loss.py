"""What a step asks of a latent diffusion model: noise some examples, let it answer, compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import torch

from pipeline.core.training_params import Loss
from pipeline.diffusion.objective import Objective
from pipeline.families.model_components import Conditioning, ModelComponents
from pipeline.methods.trainable import Teacher
from pipeline.training.data.batches import Batch, Examples, SamplingSettings, batch_at, bucket_at, example_at, sent
from pipeline.training.error_functions import mean_error

Prompts = Callable[[ModelComponents, torch.Tensor], Conditioning]  # rows of the sentences -> what the UNet reads


@dataclass(frozen=True)
class DenoisingLoss:
    """The loss of some slots of a step, as the loop asks for it.

    With a `teacher` the right answer to prior examples is what the frozen base answers. `in_step`: it is asked in every
    part of a batch, since parts of a model that are spread over processes can only be gathered by all at once.
    """

    family: ModuleType
    objective: Objective
    settings: Loss
    examples: Examples
    draw: SamplingSettings
    prompts: Prompts
    teacher: Teacher | None = None
    in_step: bool = False
    mark: Callable[[str], None] = lambda part: None  # hears when a part of the work is done

    def __call__(self, parts: ModelComponents, step: int, slots: Sequence[int]) -> torch.Tensor:
        """Mean over the slots, a number with gradients."""
        batch = batch_at(step, slots, self.examples, self.draw, self.objective.n_timesteps)
        self.mark("steps/batch")
        noisy = self.objective.add_noise(batch.clean, batch.noise, batch.timesteps)
        target = self.objective.target(batch.clean, batch.noise, batch.timesteps)
        if self.teacher and (batch.prior or self.in_step):
            target = self._taught(self.teacher, batch, noisy, target)
        predicted = self._answer(parts, batch, noisy, slice(None))
        return mean_error(self.settings, self.objective, predicted.float(), target, batch.timesteps, batch.masks)

    @torch.no_grad()
    def _taught(self, teacher: Teacher, batch: Batch, noisy: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The target with the frozen base's answers in the places of prior examples."""
        asked = sent(torch.tensor(batch.prior or (0,)), noisy.device)
        with teacher() as base:
            answers = self._answer(base, batch, noisy, asked)
        # A copy, since the target may be the noise itself.
        return target.index_copy(0, asked, answers.float()) if batch.prior else target

    def _answer(
        self, parts: ModelComponents, batch: Batch, noisy: torch.Tensor, places: slice | torch.Tensor
    ) -> torch.Tensor:
        told = self.prompts(parts, batch.texts[places])
        if batch.sizes is not None:
            told = replace(told, sizes=batch.sizes[places])
        return self.family.predict(parts, noisy[places], batch.timesteps[places], told)

    def seen(self, step: int) -> list[str]:
        """The examples of a whole step, by name."""
        bucket, before = bucket_at(step, self.examples, self.draw.seed)
        first = before * self.draw.batch_size
        rows = [example_at(first + slot, bucket, self.draw) for slot in range(self.draw.batch_size)]
        return [bucket.names[row] for row in rows]
