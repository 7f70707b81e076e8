"""Code to copy that loads a model or snapshot with public libraries alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.families import FAMILIES, family
from pipeline.methods import METHODS, method


def usage(card: Mapping[str, Any], path: str) -> str:
    """Code that draws with the snapshot at `path`, or with the base where that is its path; `card` is the model's."""
    base = card.get("base", "")
    its_family = family(card["family"]) if card.get("family") in FAMILIES else None
    pipeline = its_family.pipeline_class if its_family else "DiffusionPipeline"
    load_snapshot: list[str] = []
    if path != base and card.get("method") in METHODS:
        load_snapshot = method(card["method"]).load_snippet(its_family, card, path)
    lines = [
        f"from diffusers import {pipeline}",
        f'pipe = {pipeline}.from_pretrained("{base if load_snapshot else path}")',
    ]
    prompt = f"{card['trigger']} flying over the sea" if "trigger" in card else "a flying reptile"
    return "\n".join([*lines, *load_snapshot, f'pipe("{prompt}").images[0].save("picture.png")'])
