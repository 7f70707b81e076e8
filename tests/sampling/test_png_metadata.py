"""Parameters inside a PNG: written so that the parsers of other programs read them, and our own exactly."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline.core.records import SampleSpec
from pipeline.sampling.png_metadata import Provenance, a1111_text, encode_png, json_record

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "prediction_type": "v_prediction"}
PROVENANCE = Provenance("sinomacrops", "step-000250", 250, "0123456789abcdef", "feedface", BETAS)
PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')  # of A1111's own reader


SPEC = SampleSpec(prompt="a dodo", seed=7, sampler="DDIM", steps=20, guidance_scale=7.5, width_px=64, height_px=48)


def _spec(**changes) -> SampleSpec:
    return replace(SPEC, **changes)


def _picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))


def _parse(text: str) -> dict[str, str]:
    """Prompt, negative prompt and pairs, as A1111 reads them."""
    *lines, last = text.strip().split("\n")
    pairs = {key: json.loads(value) if value.startswith('"') else value for key, value in PAIR.findall(last)}
    assert len(PAIR.findall(last)) >= 3  # with fewer the line would count as prompt
    cut = next((i for i, line in enumerate(lines) if line.startswith("Negative prompt:")), len(lines))
    negative = "\n".join(lines[cut:]).removeprefix("Negative prompt: ")
    return {"prompt": "\n".join(lines[:cut]), "negative": negative, **pairs}


def _read(content: bytes) -> dict[str, str]:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image.text


def test_the_text_is_exactly_what_a1111_writes():
    spec = _spec(sampler="DPM++ 2M Karras", negative_prompt="blurry")
    assert a1111_text(spec, PROVENANCE) == (
        "a dodo\nNegative prompt: blurry\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 7, Size: 64x48, "
        "Model hash: 0123456789, Model: sinomacrops-step-000250, RNG: CPU, Version: paleoforge"
    )


def test_without_a_negative_prompt_there_is_no_line_for_it():
    assert "Negative" not in a1111_text(_spec(), PROVENANCE)
    assert "Schedule type" not in a1111_text(_spec(), PROVENANCE)


@pytest.mark.parametrize(
    "prompt",
    [
        "a dodo, flying, in the forest",
        'a "dodo" at 5:30',
        "first line\nsecond line",
        "zażółć gęślą jaźń, wymarły gad",
        "back\\slash and ünïcode 恐竜",
    ],
)
def test_prompts_survive_the_way_through_a_png(prompt):
    spec = _spec(prompt=prompt, negative_prompt=prompt)
    texts = _read(encode_png(_picture(), spec, PROVENANCE))
    parsed = _parse(texts["parameters"])
    assert parsed["prompt"] == parsed["negative"] == prompt
    assert (parsed["Seed"], parsed["CFG scale"], parsed["Size"]) == ("7", "7.5", "64x48")
    record = json.loads(texts["paleoforge"])
    assert record["prompt"] == record["negative_prompt"] == prompt


def test_a_model_name_that_would_break_the_line_is_quoted():
    odd = Provenance('a, "b": c', "base", 0, "0" * 64, "", BETAS)
    assert _parse(a1111_text(_spec(), odd))["Model"] == 'a, "b": c-base'


def test_the_record_has_all_that_is_needed_to_sample_the_picture_again():
    record = json_record(_spec(), PROVENANCE)
    assert record["schema"] == 1
    assert record["scheduler"]["config"]["prediction_type"] == "v_prediction"
    assert not [key for key in record["scheduler"]["config"] if key.startswith("_")]
    assert {"species", "checkpoint", "step", "weights_digest", "lineage_id", "seed", "steps"} <= record.keys()


@pytest.mark.parametrize("sampler", ["DPM++ 2M SDE Karras", "UniPC", "Heun", "PLMS"])
def test_the_record_is_json_for_strict_readers(sampler):
    text = json.dumps(json_record(_spec(sampler=sampler), PROVENANCE))
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_the_same_picture_gives_the_same_bytes():
    assert encode_png(_picture(), _spec(), PROVENANCE) == encode_png(_picture(), _spec(), PROVENANCE)


def test_the_pixels_are_untouched():
    assert (
        np.asarray(Image.open(io.BytesIO(encode_png(_picture(), _spec(), PROVENANCE)))) == np.asarray(_picture())
    ).all()
