"""Python that loads a model or snapshot with other people's libraries alone, as code to copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.families import FAMILIES, family
from pipeline.methods import METHODS, method


def usage(card: Mapping[str, Any], path: str) -> str:
    """Code that draws with the snapshot at `path`; `card` is the model's. At the base's own path: with the base."""
    base = card.get("base", "")
    its_family = family(card["family"]) if card.get("family") in FAMILIES else None
    pipeline = its_family.pipeline_class if its_family else "DiffusionPipeline"
    over_base: list[str] = []
    if path != base and card.get("method") in METHODS:
        over_base = method(card["method"]).load_snippet(its_family, card, path)
    lines = [f"from diffusers import {pipeline}", f'pipe = {pipeline}.from_pretrained("{base if over_base else path}")']
    called = f"{card['trigger']} flying over the sea" if "trigger" in card else "a flying reptile"
    return "\n".join([*lines, *over_base, f'pipe("{called}").images[0].save("picture.png")'])
