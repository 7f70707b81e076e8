"""What the sections of params.yaml are made of: strict, frozen models, and the numbers and texts in them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pipeline.core.prompts import CAPTION_PLACEHOLDERS, Template, fill

MOST = 10**12  # of anything that is counted here
PositiveInt = Annotated[int, Field(gt=0, le=MOST, strict=True)]
NonNegativeInt = Annotated[int, Field(ge=0, le=MOST, strict=True)]
Seed = Annotated[int, Field(ge=0, lt=2**63, strict=True)]  # what torch takes
Steps = Annotated[int, Field(gt=0, le=10_000_000, strict=True)]  # of training; a year on a fast GPU
SamplerSteps = Annotated[int, Field(gt=0, le=1000, strict=True)]  # weights are trained with a thousand timesteps
SidePx = Annotated[int, Field(gt=0, le=16384, strict=True)]
BatchSize = Annotated[int, Field(gt=0, le=65536, strict=True)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]


def _fills(template: str) -> str:
    fill(template, CAPTION_PLACEHOLDERS, **dict.fromkeys(CAPTION_PLACEHOLDERS, ""))
    return template


def _not_empty(templates: tuple[str, ...]) -> tuple[str, ...]:
    if not templates:
        raise ValueError("it needs at least one prompt; write one or remove the key")
    return templates


def _is_one_line(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise ValueError("it must be a name on one line, and not be empty")
    return name


Name = Annotated[str, Field(max_length=200), AfterValidator(_is_one_line)]
CaptionTemplate = Annotated[str, AfterValidator(_fills)]
Prompts = Annotated[tuple[Template, ...], AfterValidator(_not_empty)]


class Section(BaseModel):
    """A section of params.yaml. A field's default holds where the key is not written; its docstring documents it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class SourceParams(Section):
    """One entry of `species.<key>.sources`; every source has a subclass whose `kind` is the Literal of its name."""

    kind: str

    @property
    def label(self) -> str:
        """How tables name this source, such as `folder:pictures/dodo`."""
        raise NotImplementedError

    @property
    def is_trusted(self) -> bool:
        """Whether its pictures were chosen by hand, so that curation does not judge what they show."""
        return False
