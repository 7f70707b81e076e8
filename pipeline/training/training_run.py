"""A training run: everything that decides a training, resolved once by the stage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.core.records import Subject
from pipeline.core.training_params import Train
from pipeline.families.family import Family
from pipeline.methods.method import Method
from pipeline.training.checkpoint.identity import Identity
from pipeline.training.data.dataset import Prior
from pipeline.training.data.latent_cache import TrainingImage


@dataclass(frozen=True)
class TrainingRun:
    """Family, method, base, pictures and params of a training.

    `prior_prompt` is filled in; `metadata` goes into every snapshot; `identity` is what a resume compares.
    """

    family: Family
    method: Method
    base: Path
    subject: Subject
    pictures: tuple[TrainingImage, ...]
    holdout: tuple[TrainingImage, ...]
    prior_prompt: str
    train: Train
    seed: int
    metadata: dict[str, str]
    identity: Identity

    @property
    def trains_text_encoder(self) -> bool:
        return self.method.trains_text_encoder(self.train)

    @property
    def prior(self) -> Prior | None:
        """What prior preservation uses; None where it is off."""
        prior = self.train.prior
        images = 0 if prior.kind == "teacher" else prior.images
        if self.method.preserves_base or not prior.weight or (prior.kind == "pictures" and not images):
            return None
        return Prior(self.prior_prompt, images)

    @property
    def uses_teacher(self) -> bool:
        """Does the frozen base give the targets of prior examples?"""
        return self.prior is not None and self.train.prior.kind == "teacher"

    def without_bytes(self) -> TrainingRun:
        """The same without the pictures' bytes, which nothing reads once they are encoded."""
        pictures, holdout = (
            tuple(replace(picture, content=b"", mask=None) for picture in some)
            for some in (self.pictures, self.holdout)
        )
        return replace(self, pictures=pictures, holdout=holdout)
