"""The contract of a fine-tuning method: what is trained, and how a snapshot of it is saved, restored and exported."""

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

    The file imports torch and peft in its functions, so that params, load snippets and checks need neither. It ends
    with `_: type[Method] = ItsClass`, by which mypy checks the contract.
    """

    @property
    def name(self) -> str:
        """Its key in `METHODS`, and the value of `train.method` in params.yaml."""

    @property
    def Params(self) -> type[Section]:  # noqa: N802
        """The type of its own section `train.<name>`; a class attribute, since it is read without an instance."""

    @property
    def sections(self) -> Mapping[str, type[Section]]:
        """The sections of `train` that it uses, by their names; the first one is its own."""

    @property
    def needs(self) -> frozenset[Capability]:
        """Capabilities that a model family must have."""

    @property
    def preserves_base(self) -> bool:
        """Do prompts without the species' name give what the base gives, so that prior preservation is not needed?"""

    @property
    def saves_full_model(self) -> bool:
        """Is a snapshot a complete diffusers folder, rather than weights that are loaded into its base?"""

    @property
    def formats(self) -> Mapping[Format, tuple[Artefact, ...]]:
        """What `paleo export` writes of it in each format; a format that is missing cannot hold it."""

    @property
    def kohya_network(self) -> tuple[str, Mapping[str, str]]:
        """`ss_network_module` and `ss_network_args` of kohya's files; empty where it has no adapters."""

    def trains_text_encoder(self, train: Train) -> bool:
        """Are text encoders trained, so that sentences are encoded at every step?"""

    def check(self, family: Family, base: Path, train: Train) -> None:
        """ParamsError when its params do not fit a base; reads configs only."""

    def attach(
        self, components: ModelComponents, train: Train, subject: Subject, seed: int, frozen_dtype: torch.dtype
    ) -> Trainable:
        """Put trainable weights into the base; their initial values are a function of `seed`."""

    def save(self, trainable: Trainable, folder: Path, dtype: torch.dtype, metadata: Mapping[str, str]) -> None:
        """A snapshot that diffusers or peft loads; `metadata` goes into the header of each file."""

    def restore(self, components: ModelComponents, folder: Path) -> ModelComponents:
        """The base with a snapshot in it, or instead of it; InputError where the snapshot does not fit."""

    def adapters(self, folder: Path) -> Adapters:
        """The adapters of a snapshot with the peft config of each module; InputError where it has none."""

    def trigger(self, subject: Subject) -> str:
        """What a prompt must contain in programs that only load the snapshot."""

    def placeholder_tokens(self, train: Train, subject: Subject) -> dict[str, str]:
        """The species' name -> the placeholder tokens that stand for it; empty where there are none."""

    def load_snippet(self, family: Family | None, card: Mapping[str, Any], path: str) -> list[str]:
        """Lines of Python that load the snapshot at `path` into `pipe` with public libraries alone.

        Empty where the snapshot is a complete model. `card` is the model's; `family` is None where it was removed.
        """
