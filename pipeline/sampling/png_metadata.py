"""A picture's parameters inside its PNG: A1111's `parameters` text, which every viewer of such pictures reads, and
`paleoforge`, a JSON record with all that is needed to draw it again. Nothing in either depends on when or where.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipeline.core.records import SampleSpec
from pipeline.diffusion import samplers

SCHEMA = 1
HASH_DIGITS = 10  # of the model hash, as A1111 prints it


@dataclass(frozen=True)
class Origin:
    """Which weights drew a picture; `lineage_id` is empty for the base model, which belongs to no training."""

    species: str
    checkpoint: str
    step: int
    weights_digest: str
    lineage_id: str
    scheduler_config: Mapping[str, Any]  # the base's own: betas and prediction type


def png(image: Image.Image, spec: SampleSpec, origin: Origin) -> bytes:
    """The same picture and parameters give the same bytes."""
    texts = PngInfo()
    texts.add_text("parameters", a1111_text(spec, origin))  # iTXt by itself when it is not Latin-1
    record = json.dumps(full_record(spec, origin), sort_keys=True, ensure_ascii=False)
    texts.add_itxt("paleoforge", record)
    sink = io.BytesIO()
    image.save(sink, "PNG", pnginfo=texts)
    return sink.getvalue()


def a1111_text(spec: SampleSpec, origin: Origin) -> str:
    """`prompt`, `Negative prompt: …` if there is one, and a line of parameters."""
    lines = [spec.prompt]
    if spec.negative_prompt:
        lines.append(f"Negative prompt: {spec.negative_prompt}")
    lines.append(", ".join(f"{key}: {quoted(str(value))}" for key, value in _a1111_pairs(spec, origin).items()))
    return "\n".join(lines)


def quoted(value: str) -> str:
    """A value that would break the line of parameters, as a JSON string."""
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ",:\n") else value


def full_record(spec: SampleSpec, origin: Origin) -> dict[str, Any]:
    """Everything about a picture, for programs."""
    row = samplers.find(spec.sampler)
    config = samplers.build(spec.sampler, origin.scheduler_config).config
    source = {key: value for key, value in asdict(origin).items() if key != "scheduler_config"}
    public = {key: _finite(value) for key, value in config.items() if not key.startswith("_")}
    return {"schema": SCHEMA, **source, **asdict(spec), "scheduler": {"class": row.class_name, "config": public}}


def _finite(value: Any) -> Any:
    """JSON has no infinity; some schedulers' flags are."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _a1111_pairs(spec: SampleSpec, origin: Origin) -> dict[str, Any]:
    row = samplers.find(spec.sampler)
    return {
        "Steps": spec.steps,
        "Sampler": row.name,
        **({"Schedule type": row.schedule} if row.schedule else {}),
        "CFG scale": f"{spec.guidance_scale:g}",
        "Seed": spec.seed,
        "Size": f"{spec.width_px}x{spec.height_px}",
        "Model hash": origin.weights_digest[:HASH_DIGITS],
        "Model": f"{origin.species}-{origin.checkpoint}",
        "RNG": "CPU",
        "Version": "paleoforge",
    }
