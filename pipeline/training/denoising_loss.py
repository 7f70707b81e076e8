"""The denoising loss of a step: add noise to some examples, predict, compare the prediction with the target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from pipeline.core.training_params import Loss
from pipeline.diffusion.objective import Objective
from pipeline.families.model_components import Conditioning, ModelComponents
from pipeline.methods.trainable import Teacher
from pipeline.training.data.batches import Batch, Examples, SamplingSettings, batch_at, bucket_at, example_at, sent
from pipeline.training.error_functions import mean_error

EncodePrompts = Callable[[ModelComponents, Any], Conditioning]  # rows of the sentences -> conditioning


@dataclass(frozen=True)
class DenoisingLoss:
    """The loss of some slots of a step.

    With a `teacher` the target of prior examples is what the frozen base predicts. `in_step`: it predicts in every part
    of a batch, since the shards of a model can only be gathered by all processes at once.
    """

    objective: Objective
    settings: Loss
    examples: Examples
    draw: SamplingSettings
    prompts: EncodePrompts
    teacher: Teacher | None = None
    in_step: bool = False
    mark: Callable[[str], None] = lambda part: None  # called when a part of the work is done

    def __call__(self, components: ModelComponents, step: int, slots: Sequence[int]) -> torch.Tensor:
        """Mean over the slots, a number with gradients."""
        batch = batch_at(step, slots, self.examples, self.draw, self.objective.n_timesteps)
        self.mark("steps/batch")
        noisy = self.objective.add_noise(batch.clean, batch.noise, batch.timesteps)
        target = self.objective.target(batch.clean, batch.noise, batch.timesteps)
        if self.teacher and (batch.prior or self.in_step):
            target = self._with_teacher(self.teacher, batch, noisy, target)
        predicted = self._predict(components, batch, noisy, slice(None))
        return mean_error(self.settings, self.objective, predicted.float(), target, batch.timesteps, batch.masks)

    @torch.no_grad()
    def _with_teacher(self, teacher: Teacher, batch: Batch, noisy: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The target with the frozen base's predictions in the places of prior examples."""
        rows = sent(torch.tensor(batch.prior or (0,)), noisy.device)
        with teacher() as base:
            predictions = self._predict(base, batch, noisy, rows)
        # A copy, since the target may be the noise itself.
        return target.index_copy(0, rows, predictions.float()) if batch.prior else target

    def _predict(
        self, components: ModelComponents, batch: Batch, noisy: torch.Tensor, places: slice | torch.Tensor
    ) -> torch.Tensor:
        conditioning = self.prompts(components, batch.texts[places])
        if batch.sizes is not None:
            conditioning = replace(conditioning, sizes=batch.sizes[places])
        return components.family.predict(components, noisy[places], batch.timesteps[places], conditioning)

    def examples_of(self, step: int) -> list[str]:
        """The examples of a whole step, by name."""
        bucket, before = bucket_at(step, self.examples, self.draw.seed)
        first = before * self.draw.batch_size
        rows = [example_at(first + slot, bucket, self.draw) for slot in range(self.draw.batch_size)]
        return [bucket.names[row] for row in rows]
