"""Textual inversion (Gal et al. 2023): the base does not change, the species is a few new tokens for it."""

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
from pipeline.methods import placeholder_tokens
from pipeline.methods.method import Artefact, Format, Method
from pipeline.methods.params import PlaceholderTokenParams

if TYPE_CHECKING:
    import torch

    from pipeline.families.model_components import ModelComponents
    from pipeline.methods.adapters import Adapters
    from pipeline.methods.trainable import Trainable

WHERE = "train.textual_inversion"


class TextualInversion:
    name = "textual_inversion"
    Params = PlaceholderTokenParams
    sections: Mapping[str, type[Section]] = {"textual_inversion": PlaceholderTokenParams}
    needs: frozenset[Capability] = frozenset({"text_encoder"})
    preserves_base = True  # every other sentence is encoded as before
    saves_full_model = False
    formats: Mapping[Format, tuple[Artefact, ...]] = {"kohya": ("embeddings",), "diffusers": ("embeddings",)}
    kohya_network: tuple[str, Mapping[str, str]] = ("", {})

    def params(self, train: Train) -> PlaceholderTokenParams:
        params: PlaceholderTokenParams = section(train, self.name, PlaceholderTokenParams)
        return params

    def trains_text_encoder(self, train: Train) -> bool:
        return True

    def check(self, family: Family, base: Path, train: Train) -> None:
        """ParamsError when there are more vectors than the text encoders read."""
        from pipeline.methods import token_embeddings

        token_embeddings.check(self.params(train), WHERE, family, base)

    def attach(
        self, components: ModelComponents, train: Train, subject: Subject, seed: int, frozen_dtype: torch.dtype
    ) -> Trainable:
        """Tokens for the species, which alone are trained; see `token_embeddings.add_tokens` for what is refused."""
        from pipeline.methods import token_embeddings
        from pipeline.methods.trainable import Group, Trainable, cast

        params = self.params(train)
        cast((components.unet, *components.text_encoders), frozen_dtype)
        extended = token_embeddings.add_tokens(components, subject, params, WHERE)
        modules = token_embeddings.make_trainable(extended)
        names = token_embeddings.trained_names(modules)
        lr_factor = params.learning_rate / train.learning_rate
        return Trainable(extended, modules, (Group(names, lr_factor, weight_decay=False),))

    def save(self, trainable: Trainable, folder: Path, dtype: torch.dtype, metadata: Mapping[str, str]) -> None:
        """`learned_embeds.safetensors`."""
        from pipeline.methods import token_embeddings

        token_embeddings.save(trainable.modules, trainable.components, folder, dtype, metadata)

    def restore(self, components: ModelComponents, folder: Path) -> ModelComponents:
        from pipeline.methods import token_embeddings

        return token_embeddings.restore(components, folder)

    def adapters(self, folder: Path) -> Adapters:
        raise InputError(f"{folder} has token embeddings and no adapters")

    def trigger(self, subject: Subject) -> str:
        return placeholder_tokens.trigger(subject)

    def placeholder_tokens(self, train: Train, subject: Subject) -> dict[str, str]:
        return {subject.name: placeholder_tokens.spelling(self.trigger(subject), self.params(train).vectors)}

    def load_snippet(self, family: Family | None, card: Mapping[str, Any], path: str) -> list[str]:
        return placeholder_tokens.load_snippet(family, str(card.get("trigger", "")), path)


_: type[Method] = TextualInversion
