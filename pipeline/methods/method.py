"""The contract of a fine-tuning method: what is learnt, and how a snapshot of it is saved, restored and exported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pipeline.core.param_types import Section
from pipeline.core.records import Subject
from pipeline.core.training_params import Train
from pipeline.families.family import Capability, Family

if TYPE_CHECKING:
    import torch

    from pipeline.families.model_components import ModelComponents
    from pipeline.methods.adapters import Adapters
    from pipeline.methods.trainable import Trainable

Format = Literal["kohya", "diffusers", "single-file"]
# What a file or folder of an export holds; `pipeline.exporting` writes each.
Artefact = Literal["adapters", "embeddings", "folder", "checkpoint"]


class Method(Protocol):
    """One fine-tuning method, in one file that is named in `METHODS`.

    A module that implements it imports torch and peft in its functions: params, load snippets and refusals are read
    without them. The training loop knows no method.
    """

    @property
    def name(self) -> str:
        """Its key in `METHODS`, which `train.method` of params.yaml says."""

    @property
    def Params(self) -> type[Section]:  # noqa: N802  # read from the class, as the other plugins' params are
        """Its own section of `train`."""

    @property
    def sections(self) -> Mapping[str, type[Section]]:
        """The sections of `train` that it reads, by their names; the first one is its own."""

    @property
    def needs(self) -> frozenset[Capability]:
        """What a model family must have."""

    @property
    def preserves_base(self) -> bool:
        """Does everything but the species' name mean what it meant, so that prior preservation is never needed?"""

    @property
    def saves_full_model(self) -> bool:
        """Is a snapshot a complete diffusers folder, rather than something that is laid over its base?"""

    @property
    def formats(self) -> Mapping[Format, tuple[Artefact, ...]]:
        """What `paleo export` writes of it in each format; a format that is missing cannot hold it."""

    @property
    def kohya_network(self) -> tuple[str, Mapping[str, str]]:
        """`ss_network_module` and `ss_network_args` of kohya's files; empty where it has no adapters."""

    def trains_text_encoder(self, train: Train) -> bool:
        """Do text encoders change, so that sentences are encoded at every step?"""

    def check(self, family: Family, base: Path, train: Train) -> None:
        """ParamsError when its params do not fit a base; reads configs only."""

    def attach(
        self, components: ModelComponents, train: Train, subject: Subject, seed: int, frozen_dtype: torch.dtype
    ) -> Trainable:
        """Put what is learnt into the base; its first values are a function of `seed`."""

    def save(self, trainable: Trainable, folder: Path, dtype: torch.dtype, metadata: Mapping[str, str]) -> None:
        """A snapshot that diffusers or peft loads; `metadata` goes into the header of each file."""

    def restore(self, components: ModelComponents, folder: Path) -> ModelComponents:
        """The base with a snapshot in it, or instead of it; InputError where the snapshot does not fit."""

    def adapters(self, folder: Path) -> Adapters:
        """The adapters of a snapshot with the peft config of each module; InputError where it has none."""

    def trigger(self, subject: Subject) -> str:
        """What a prompt must contain in programs that only load the snapshot."""

    def placeholder_tokens(self, train: Train, subject: Subject) -> dict[str, str]:
        """The species' name -> the new tokens that stand for it; empty where none are learnt."""

    def load_snippet(self, family: Family | None, card: Mapping[str, Any], path: str) -> list[str]:
        """Lines of Python that lay the snapshot at `path` over `pipe`, with other people's libraries alone.

        Empty where the snapshot is a complete model. `card` is the model's; `family` None: it is not known any more.
        """
