"""The config that is stored with a model version: what the served model must know beside the weights.

Versions registered by paleoforge 0.1.0 hold the sampler settings `guidance` and `negative`, which are called
`guidance_scale` and `negative_prompt` now. They are read under both names and written under the new ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.core.params import Params

SAMPLER_SETTINGS = ("sampler", "steps", "guidance_scale", "negative_prompt", "width_px", "height_px")
NAMES_OF_0_1 = {"guidance": "guidance_scale", "negative": "negative_prompt"}


def model_config(
    params: Params,
    species: str,
    card: Mapping[str, Any],
    *,
    step: int,
    checkpoint: str,
    weights_digest: str,
    needs_base: bool,
) -> dict[str, Any]:
    """The config of one step of the training whose card is `card`."""
    return {
        "name": params.species[species].name,
        "class_noun": params.species[species].class_noun,
        "family": card["family"],
        "method": card["method"],
        "needs_base": needs_base,
        "base": params.base.path,
        "base_digest": card["base_digest"],
        "origin": {
            "species": species,
            "checkpoint": checkpoint,
            "step": step,
            "lineage_id": card["lineage_id"],
            "weights_digest": weights_digest,
        },
        "batch_size": params.sample.batch_size,
        "zero_terminal_snr": zero_terminal_snr(card),
        "sample": {key: getattr(params.sample, key) for key in SAMPLER_SETTINGS},
    }


def zero_terminal_snr(card: Mapping[str, Any]) -> bool:
    """Whether a model has learnt to begin at pure noise, by its card."""
    return bool(card.get("params", {}).get("loss", {}).get("zero_terminal_snr"))


def current_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Sampler settings under the names of today; those of 0.1.0 are accepted."""
    return {NAMES_OF_0_1.get(name, name): value for name, value in settings.items()}
