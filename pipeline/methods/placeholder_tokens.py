"""Placeholder tokens of a species: how prompts spell them, and code that loads them. Imports no torch."""

from __future__ import annotations

from pipeline.core.records import Subject
from pipeline.families.family import Family

FILE = "learned_embeds.safetensors"


def trigger(subject: Subject) -> str:
    """The first of the tokens, which stands for all of them in diffusers' pipelines too."""
    return f"<{subject.key}>"


def spelling(first: str, n: int) -> str:
    """`n` tokens, of which `first` is the first: `<dodo> <dodo>_1 …`."""
    return " ".join([first, *(f"{first}_{number}" for number in range(1, n))])


def load_snippet(family: Family | None, token: str, path: str) -> list[str]:
    """Python that loads the tokens of the snapshot at `path` into a diffusers pipeline `pipe`."""
    if family is None or not family.embedding_keys:
        return [f'pipe.load_textual_inversion("{path}/{FILE}", token="{token}")']
    loads = [
        f'pipe.load_textual_inversion(embeddings["{key}"], token="{token}", text_encoder=pipe.{encoder}, '
        f"tokenizer=pipe.{encoder.replace('text_encoder', 'tokenizer')})"
        for key, encoder in zip(family.embedding_keys, family.text_encoders, strict=True)
    ]
    return ["from safetensors.torch import load_file", f'embeddings = load_file("{path}/{FILE}")', *loads]
