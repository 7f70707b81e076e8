"""What the sections of params.yaml are made of: strict, frozen models, and the numbers and texts in them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pipeline.core.prompts import CAPTION_PLACEHOLDERS, Template, fill

PositiveInt = Annotated[int, Field(gt=0, strict=True)]
NonNegativeInt = Annotated[int, Field(ge=0, strict=True)]
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


CaptionTemplate = Annotated[str, AfterValidator(_fills)]
Prompts = Annotated[tuple[Template, ...], AfterValidator(_not_empty)]


class Section(BaseModel):
    """A section of params.yaml. A field's default holds where the key is not written; its docstring documents it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


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
