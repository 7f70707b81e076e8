"""Pivotal tuning (Roich et al. 2022): placeholder tokens for the species and LoRA, trained at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.param_types import PositiveFloat, PositiveInt, Section
from pipeline.core.params import section
from pipeline.core.records import Subject
from pipeline.core.training_params import Train
from pipeline.families.family import Capability, Family
from pipeline.methods import placeholder_tokens
from pipeline.methods.method import Artefact, Format, Method
from pipeline.methods.params import LoraParams, PlaceholderTokenParams

if TYPE_CHECKING:
    import torch

    from pipeline.families.model_components import ModelComponents
    from pipeline.methods.adapters import Adapters
    from pipeline.methods.trainable import Trainable

WHERE = "train.pivotal"


class PivotalParams(PlaceholderTokenParams):
    """Placeholder tokens; the LoRA beside them is as `train.lora` says."""

    vectors: PositiveInt = 2
    """Number of tokens."""
    learning_rate: PositiveFloat = 2.0e-3


class Pivotal:
    name = "pivotal"
    Params = PivotalParams
    sections: Mapping[str, type[Section]] = {"pivotal": PivotalParams, "lora": LoraParams}
    needs: frozenset[Capability] = frozenset({"unet", "text_encoder"})
    preserves_base = False
    saves_full_model = False
    formats: Mapping[Format, tuple[Artefact, ...]] = {
        "kohya": ("adapters", "embeddings"),
        "diffusers": ("adapters", "embeddings"),
    }
    kohya_network: tuple[str, Mapping[str, str]] = ("networks.lora", {})

    def params(self, train: Train) -> PivotalParams:
        params: PivotalParams = section(train, self.name, PivotalParams)
        return params

    def lora_params(self, train: Train) -> LoraParams:
        params: LoraParams = section(train, "lora", LoraParams)
        return params

    def trains_text_encoder(self, train: Train) -> bool:
        return True

    def check(self, family: Family, base: Path, train: Train) -> None:
        """ParamsError when the tokens or the LoRA do not fit the base."""
        from pipeline.methods import adapters, token_embeddings

        token_embeddings.check(self.params(train), WHERE, family, base)
        adapters.check("lora", self.lora_params(train), family, base)

    def attach(
        self, components: ModelComponents, train: Train, subject: Subject, seed: int, frozen_dtype: torch.dtype
    ) -> Trainable:
        """LoRA as `train.lora` says, and tokens beside it with their own learning rate."""
        from pipeline.methods import adapters, lora_file, token_embeddings
        from pipeline.methods.trainable import Group, Trainable

        params, lora = self.params(train), self.lora_params(train)
        adapted = adapters.attach("lora", lora, lora_file.config, components, seed, frozen_dtype)
        extended = token_embeddings.add_tokens(adapted.components, subject, params, WHERE)
        modules = {**adapted.modules, **token_embeddings.make_trainable(extended)}
        names = token_embeddings.trained_names(modules)
        both = Trainable(extended, modules, teacher=adapted.teacher)
        others = Group(tuple(name for name in both.parameters if name not in names))
        tokens = Group(names, params.learning_rate / train.learning_rate, weight_decay=False)
        return Trainable(extended, modules, (others, tokens), adapted.teacher)

    def save(self, trainable: Trainable, folder: Path, dtype: torch.dtype, metadata: Mapping[str, str]) -> None:
        """The file of the tokens and the file of the adapters."""
        from pipeline.methods import lora_file, token_embeddings
        from pipeline.methods.adapters import ADAPTER

        token_embeddings.save(trainable.modules, trainable.components, folder, dtype, metadata)
        modules: Mapping[str, Any] = trainable.modules
        adapted = {name: module for name, module in modules.items() if ADAPTER in module.peft_config}
        lora_file.write(adapted, folder, dtype, metadata)

    def restore(self, components: ModelComponents, folder: Path) -> ModelComponents:
        """The base with the tokens, and with the adapters in it."""
        from pipeline.methods import lora_file, token_embeddings

        return lora_file.restore(token_embeddings.restore(components, folder), folder)

    def adapters(self, folder: Path) -> Adapters:
        from pipeline.methods import lora_file

        return lora_file.read(folder)

    def trigger(self, subject: Subject) -> str:
        return placeholder_tokens.trigger(subject)

    def placeholder_tokens(self, train: Train, subject: Subject) -> dict[str, str]:
        return {subject.name: placeholder_tokens.spelling(self.trigger(subject), self.params(train).vectors)}

    def load_snippet(self, family: Family | None, card: Mapping[str, Any], path: str) -> list[str]:
        tokens = placeholder_tokens.load_snippet(family, str(card.get("trigger", "")), path)
        return [*tokens, f'pipe.load_lora_weights("{path}", weight_name="pytorch_lora_weights.safetensors")']


_: type[Method] = Pivotal
