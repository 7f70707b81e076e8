"""The prompt grid: every prompt with every seed, the same for each checkpoint, in batches that never change.

A picture depends, in the last bit, on what it is batched with. So a batch is sampled as a whole or not at all, and a
sampling that was killed ends with the same bytes as one that was not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.core.errors import ParamsError
from pipeline.core.params import Sample
from pipeline.core.prompts import fill_prompt
from pipeline.core.records import SampleSpec

SIDE_MULTIPLE_PX = 8  # of diffusers' pipelines


@dataclass(frozen=True)
class GridCell:
    """One picture of the grid; `template` is its prompt as it stands in params, with placeholders."""

    prompt_index: int
    template: str
    spec: SampleSpec

    @property
    def file_name(self) -> str:
        return f"p{self.prompt_index:02d}-s{self.spec.seed:05d}.png"


def prompt_grid(sample: Sample, *, name: str, class_noun: str) -> list[GridCell]:
    """All prompts x seeds of params, in their order."""
    return [
        GridCell(index, template, sample_spec(sample, fill_prompt(template, name=name, class_noun=class_noun), seed))
        for index, template in enumerate(sample.prompts)
        for seed in dict.fromkeys(sample.seeds)
    ]


def sample_spec(sample: Sample, prompt: str, seed: int) -> SampleSpec:
    """One picture with the sampler, size and guidance of params."""
    return SampleSpec(
        prompt=prompt,
        seed=seed,
        sampler=sample.sampler,
        steps=sample.steps,
        guidance_scale=sample.guidance_scale,
        width_px=sample.width_px,
        height_px=sample.height_px,
        negative_prompt=sample.negative_prompt,
    )


def batches(cells: Sequence[GridCell], size: int) -> Iterator[Sequence[GridCell]]:
    """The cells, `size` at a time."""
    return (cells[start : start + size] for start in range(0, len(cells), size))


def check_size(spec: SampleSpec) -> None:
    """ParamsError unless both sides are multiples of 8 px."""
    for name, side in {"width_px": spec.width_px, "height_px": spec.height_px}.items():
        if side % SIDE_MULTIPLE_PX:
            nearest = max(SIDE_MULTIPLE_PX, round(side / SIDE_MULTIPLE_PX) * SIDE_MULTIPLE_PX)
            raise ParamsError(f"sample.{name} is {side}, which is no multiple of {SIDE_MULTIPLE_PX}; use {nearest}")
