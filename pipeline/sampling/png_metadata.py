"""PNG metadata: the parameters of a picture, inside its file.

`parameters` is the text of AUTOMATIC1111, which every viewer of such pictures reads; `paleoforge` is a JSON record with
all that is needed to sample the picture again. Nothing in either depends on when or where.
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
class Provenance:
    """The weights that a picture comes from; `lineage_id` is empty for the base model, which belongs to no training."""

    species: str
    checkpoint: str
    step: int
    weights_digest: str
    lineage_id: str
    scheduler_config: Mapping[str, Any]  # the base's own: betas and prediction type


def encode_png(image: Image.Image, spec: SampleSpec, provenance: Provenance) -> bytes:
    """The PNG with its metadata; the same picture and parameters give the same bytes."""
    texts = PngInfo()
    texts.add_text("parameters", a1111_text(spec, provenance))  # iTXt by itself when it is not Latin-1
    record = json.dumps(json_record(spec, provenance), sort_keys=True, ensure_ascii=False)
    texts.add_itxt("paleoforge", record)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=texts)
    return buffer.getvalue()


def a1111_text(spec: SampleSpec, provenance: Provenance) -> str:
    """`prompt`, `Negative prompt: …` if there is one, and a line of parameters."""
    sampler = samplers.find(spec.sampler)
    pairs = {
        "Steps": spec.steps,
        "Sampler": sampler.name,
        **({"Schedule type": sampler.schedule} if sampler.schedule else {}),
        "CFG scale": f"{spec.guidance_scale:g}",
        "Seed": spec.seed,
        "Size": f"{spec.width_px}x{spec.height_px}",
        "Model hash": provenance.weights_digest[:HASH_DIGITS],
        "Model": f"{provenance.species}-{provenance.checkpoint}",
        "RNG": "CPU",
        "Version": "paleoforge",
    }
    negative = [f"Negative prompt: {spec.negative_prompt}"] if spec.negative_prompt else []
    return "\n".join(
        [spec.prompt, *negative, ", ".join(f"{key}: {_quoted(str(value))}" for key, value in pairs.items())]
    )


def json_record(spec: SampleSpec, provenance: Provenance) -> dict[str, Any]:
    """Everything about a picture, for programs."""
    config = samplers.build(spec.sampler, provenance.scheduler_config).config
    weights = {key: value for key, value in asdict(provenance).items() if key != "scheduler_config"}
    public = {key: _finite(value) for key, value in config.items() if not key.startswith("_")}
    scheduler = {"class": samplers.find(spec.sampler).class_name, "config": public}
    return {"schema": SCHEMA, **weights, **asdict(spec), "scheduler": scheduler}


def _quoted(value: str) -> str:
    """A value that would break the line of parameters, as a JSON string."""
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ",:\n") else value


def _finite(value: Any) -> Any:
    """JSON has no infinity; some schedulers' flags are."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
