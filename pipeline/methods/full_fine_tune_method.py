"""What dreambooth and full share as methods: a full fine-tune (see `full_fine_tune`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import InputError
from pipeline.core.param_types import Section
from pipeline.core.params import section
from pipeline.core.records import Subject
from pipeline.core.training_params import Train
from pipeline.families.family import Capability, Family
from pipeline.methods.method import Artefact, Format
from pipeline.methods.params import FullFineTuneParams

if TYPE_CHECKING:
    import torch

    from pipeline.families.model_components import ModelComponents
    from pipeline.methods.adapters import Adapters
    from pipeline.methods.trainable import Trainable


class FullFineTuneMethod:
    """A base class: subclasses define their name and `attach`."""

    name: str
    Params = FullFineTuneParams
    needs: frozenset[Capability] = frozenset({"unet"})
    preserves_base = False
    saves_full_model = True
    formats: Mapping[Format, tuple[Artefact, ...]] = {"diffusers": ("folder",), "single-file": ("checkpoint",)}
    kohya_network: tuple[str, Mapping[str, str]] = ("", {})

    @property
    def sections(self) -> Mapping[str, type[Section]]:
        return {self.name: self.Params}

    def trains_text_encoder(self, train: Train) -> bool:
        return bool(section(train, self.name, self.Params).train_text_encoder)

    def check(self, family: Family, base: Path, train: Train) -> None:
        """Every base fits."""

    def save(self, trainable: Trainable, folder: Path, dtype: torch.dtype, metadata: Mapping[str, str]) -> None:
        from pipeline.methods import full_fine_tune

        full_fine_tune.save(trainable, folder, dtype, metadata)

    def restore(self, components: ModelComponents, folder: Path) -> ModelComponents:
        from pipeline.methods import full_fine_tune

        return full_fine_tune.restore(components, folder)

    def adapters(self, folder: Path) -> Adapters:
        raise InputError(f"{folder} is a complete model and has no adapters")

    def trigger(self, subject: Subject) -> str:
        return subject.name

    def placeholder_tokens(self, train: Train, subject: Subject) -> dict[str, str]:
        return {}

    def load_snippet(self, family: Family | None, card: Mapping[str, Any], path: str) -> list[str]:
        return []
