"""A method resolved for a run: does the family have what it needs, which params it reads, a snapshot over its base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import ParamsError
from pipeline.core.params import section
from pipeline.core.training_params import Train
from pipeline.families import family
from pipeline.families.family import Family
from pipeline.methods import METHODS, method
from pipeline.methods.method import Method

if TYPE_CHECKING:
    import torch

    from pipeline.families.model_components import ModelComponents


def load(
    method_name: str, family_name: str, folder: Path, base: Path | None, device: torch.device, dtype: torch.dtype
) -> ModelComponents:
    """A snapshot with its base; without a base the folder is a complete model."""
    if base is None:
        return family(family_name).load(folder, device, dtype)
    return method(method_name).restore(family(family_name).load(base, device, dtype), folder)


def check_pair(chosen: Method, base_family: Family) -> None:
    """ParamsError unless the family has what the method needs; nothing is loaded."""
    if lacking := sorted(chosen.needs - base_family.capabilities):
        fitting = [name for name in METHODS if method(name).needs <= base_family.capabilities]
        raise ParamsError(
            f"train.method {chosen.name!r} does not work for base.family {base_family.name!r}, which lacks "
            f"{', '.join(lacking)}; of the methods these do: {', '.join(fitting) or 'none'}"
        )


def resolved_params(chosen: Method, train: Train, *, exclude: set[str]) -> dict[str, Any]:
    """`train` without the sections of other methods, and with its own in full, whether they are written or not."""
    shared = {name for name in Train.model_fields if name not in exclude}
    own = {name: section(train, name, kind).model_dump(mode="json") for name, kind in chosen.sections.items()}
    return train.model_dump(mode="json", include=shared) | own
