"""The denoising loss of a step: add noise to some examples, predict, compare the prediction with the target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from pipeline.core.training_params import Loss
from pipeline.diffusion.objective import Objective
from pipeline.families.model_components import Conditioning, ModelComponents
from pipeline.methods.trainable import Teacher
from pipeline.training.data.batches import (
    Batch,
    EncodedDataset,
    SamplingSettings,
    batch_at,
    bucket_at,
    example_at,
    to_device,
)

EncodePrompts = Callable[[ModelComponents, Any], Conditioning]  # rows of the sentences -> conditioning


@dataclass(frozen=True)
class DenoisingLoss:
    """The loss of some slots of a step.

    With a `teacher` the target of prior examples is what the frozen base predicts. `teacher_always`: it predicts in
    every part of a batch, since the shards of a model can only be gathered by all processes at once.
    """

    objective: Objective
    params: Loss
    dataset: EncodedDataset
    sampling: SamplingSettings
    encode_prompts: EncodePrompts
    teacher: Teacher | None = None
    teacher_always: bool = False
    mark: Callable[[str], None] = lambda part: None  # called when a part of the work is done

    def __call__(self, components: ModelComponents, step: int, slots: Sequence[int]) -> torch.Tensor:
        """Mean over the slots, a scalar with gradients."""
        batch = batch_at(step, slots, self.dataset, self.sampling, self.objective.n_timesteps)
        self.mark("steps/batch")
        noisy = self.objective.add_noise(batch.clean, batch.noise, batch.timesteps)
        target = self.objective.target(batch.clean, batch.noise, batch.timesteps)
        if self.teacher and (batch.prior or self.teacher_always):
            target = self._with_teacher(self.teacher, batch, noisy, target)
        predicted = self._predict(components, batch, noisy, slice(None))
        return mean_error(self.params, self.objective, predicted.float(), target, batch.timesteps, batch.masks)

    @torch.no_grad()
    def _with_teacher(self, teacher: Teacher, batch: Batch, noisy: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The target with the frozen base's predictions in the places of prior examples."""
        rows = to_device(torch.tensor(batch.prior or (0,)), noisy.device)
        with teacher() as base:
            predictions = self._predict(base, batch, noisy, rows)
        # A copy, since the target may be the noise itself.
        return target.index_copy(0, rows, predictions.float()) if batch.prior else target

    def _predict(
        self, components: ModelComponents, batch: Batch, noisy: torch.Tensor, places: slice | torch.Tensor
    ) -> torch.Tensor:
        conditioning = self.encode_prompts(components, batch.texts[places])
        if batch.sizes is not None:
            conditioning = replace(conditioning, sizes=batch.sizes[places])
        return components.family.predict(components, noisy[places], batch.timesteps[places], conditioning)

    def examples_of(self, step: int) -> list[str]:
        """The names of the examples of a whole step."""
        bucket, steps_before = bucket_at(step, self.dataset, self.sampling.seed)
        first = steps_before * self.sampling.batch_size
        rows = [example_at(first + slot, bucket, self.sampling) for slot in range(self.sampling.batch_size)]
        return [bucket.names[row] for row in rows]


def mean_error(
    params: Loss,
    objective: Objective,
    predicted: torch.Tensor,
    target: torch.Tensor,
    t: torch.Tensor,
    masks: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean error of predictions (n, c, h, w) at timesteps (n,); `masks` (n, 1, h, w) have a mean of one each.

    The Huber loss (1964) is half the square up to `huber_delta` and grows no faster than the distance beyond.
    """
    reduction = "mean" if masks is None and not params.min_snr_gamma else "none"
    if params.kind == "huber":
        errors = F.huber_loss(predicted, target, reduction=reduction, delta=params.huber_delta)
    else:
        errors = F.mse_loss(predicted, target, reduction=reduction)
    if reduction == "mean":
        return errors
    per_example = (errors if masks is None else errors * masks).mean(dim=(1, 2, 3))
    if params.min_snr_gamma:
        per_example = per_example * objective.min_snr_weights(t, params.min_snr_gamma)
    return per_example.mean()
