"""What lora, lokr and loha share as methods: adapters that peft puts beside frozen layers (see `adapters`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.param_types import Section
from pipeline.core.params import section
from pipeline.core.records import Subject
from pipeline.core.training_params import Train
from pipeline.families.family import Capability, Family
from pipeline.methods.method import Artefact, Format
from pipeline.methods.params import AdapterParams

if TYPE_CHECKING:
    import torch

    from pipeline.families.model_components import ModelComponents
    from pipeline.methods.adapters import Adapters
    from pipeline.methods.trainable import Trainable


class PeftMethod:
    """A base class: subclasses define their name, `Params` and `peft_config`.

    A snapshot has one folder for each trained module, in peft's own layout, since diffusers' `load_lora_weights`
    reads no adapters but LoRA. `PeftModel` puts it into a pipeline's module in place:

        pipe = DiffusionPipeline.from_pretrained(base)
        PeftModel.from_pretrained(pipe.unet, "models/dodo/step-000500/unet")
        PeftModel.from_pretrained(pipe.text_encoder, "models/dodo/step-000500/text_encoder")   # if it is there
    """

    name: str
    Params: type[AdapterParams]
    needs: frozenset[Capability] = frozenset({"unet"})
    preserves_base = False
    saves_full_model = False
    formats: Mapping[Format, tuple[Artefact, ...]] = {
        "kohya": ("adapters",),
        "diffusers": ("folder",),
        "single-file": ("checkpoint",),
    }

    @property
    def sections(self) -> Mapping[str, type[Section]]:
        return {self.name: self.Params}

    @property
    def kohya_network(self) -> tuple[str, Mapping[str, str]]:
        return "lycoris.kohya", {"algo": self.name}

    def params(self, train: Train) -> Any:
        """Its section of `train`, of type `Params`."""
        return section(train, self.name, self.Params)

    def peft_config(self, params: Any, targets: list[str]) -> Any:
        """peft's config for the layers `targets` of one module."""
        raise NotImplementedError

    def trains_text_encoder(self, train: Train) -> bool:
        return bool(self.params(train).train_text_encoder)

    def check(self, family: Family, base: Path, train: Train) -> None:
        from pipeline.methods import adapters

        adapters.check(self.name, self.params(train), family, base)

    def attach(
        self, components: ModelComponents, train: Train, subject: Subject, seed: int, frozen_dtype: torch.dtype
    ) -> Trainable:
        from pipeline.methods import adapters

        return adapters.attach(self.name, self.params(train), self.peft_config, components, seed, frozen_dtype)

    def save(self, trainable: Trainable, folder: Path, dtype: torch.dtype, metadata: Mapping[str, str]) -> None:
        from pipeline.methods import peft_folders

        peft_folders.save(trainable, folder, dtype, metadata)

    def restore(self, components: ModelComponents, folder: Path) -> ModelComponents:
        from pipeline.methods import peft_folders

        return peft_folders.restore(components, folder)

    def adapters(self, folder: Path) -> Adapters:
        from pipeline.methods import peft_folders

        return peft_folders.read(folder)

    def trigger(self, subject: Subject) -> str:
        return subject.name

    def placeholder_tokens(self, train: Train, subject: Subject) -> dict[str, str]:
        return {}

    def load_snippet(self, family: Family | None, card: Mapping[str, Any], path: str) -> list[str]:
        trained_text = card.get("params", {}).get(self.name, {}).get("train_text_encoder", False)
        encoders = family.text_encoders if family and trained_text else ()
        folders = [f'PeftModel.from_pretrained(pipe.{name}, "{path}/{name}")' for name in ("unet", *encoders)]
        return ["from peft import PeftModel", *folders]
