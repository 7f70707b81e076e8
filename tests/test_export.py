"""`paleo export`: other programs' files draw the same pictures, say where they come from, and replace nothing."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors import safe_open
from safetensors.torch import load_file

from pipeline.core.errors import InputError
from pipeline.export import export
from pipeline.families import family
from pipeline.io import outputs
from tests import tiny_models, trained_models

PIPELINES = {"sd": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}
WITH_TEXT = {"train_text_encoder": True}


@pytest.fixture(scope="session")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {"sd": tiny_models.write_sd(folder / "sd"), "sdxl": tiny_models.write_sdxl(folder / "sdxl")}


@pytest.fixture
def trained(tmp_path, bases):
    """Make a project with a trained model: `trained("sd", "lora", lora={…})`."""
    return lambda name, kind, **train: trained_models.make(tmp_path / "project", bases[name], name, kind, **train)


def _out(paths) -> Path:
    """The one thing that was exported."""
    (path,) = (each for each in (paths.root / "exports").iterdir() if each.suffix != ".yaml")
    return path


@torch.no_grad()
def _answer(parts, prompt: str = "a bird") -> torch.Tensor:
    known = family(parts.family)
    return known.predict(parts, torch.ones(1, 4, 8, 8), torch.tensor([400]), known.encode_prompt(parts, [prompt]))


def _picture(pipeline, prompt: str = "a bird"):
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.Generator().manual_seed(3)
    return torch.from_numpy(
        pipeline(prompt, height=16, width=16, num_inference_steps=2, guidance_scale=2.0, generator=noise,
                 output_type="np").images
    )  # fmt: skip


def _expected(params, paths, prompt: str = "a bird"):
    """What the snapshot draws in plain diffusers, and that it is not what the base draws."""
    parts = trained_models.restored(params, paths)
    known, base = family(parts.family), DiffusionPipeline.from_pretrained(paths.root / "base", local_files_only=True)
    picture = _picture(known.pipeline(parts, base.scheduler), prompt)
    assert (picture - _picture(base)).abs().max() > 0.01
    return picture


@pytest.mark.parametrize(
    ("name", "settings"),
    [("sd", {}), ("sd", {**WITH_TEXT, "rslora": True}), ("sdxl", WITH_TEXT)],
)
def test_kohyas_lora_draws_the_same_in_plain_diffusers(trained, name, settings):
    params, paths = trained(name, "lora", lora=settings)
    export(params, paths, format="kohya")
    pipeline = PIPELINES[name].from_pretrained(paths.root / "base", local_files_only=True)
    pipeline.load_lora_weights(_out(paths), local_files_only=True)
    assert torch.equal(_picture(pipeline), _expected(params, paths))


@pytest.mark.parametrize(("name", "prefixes"), [("sd", {"lora_unet", "lora_te"}),
                                                ("sdxl", {"lora_unet", "lora_te1", "lora_te2"})])  # fmt: skip
def test_the_names_and_alphas_are_those_that_other_programs_look_for(trained, name, prefixes):
    params, paths = trained(name, "lora", lora={**WITH_TEXT, "alpha": 8})
    export(params, paths, format="kohya", dtype="float16")
    state = load_file(_out(paths))
    found = {"lora_unet" if key.startswith("lora_unet_") else key.partition("_text_model_")[0] for key in state}
    assert found == prefixes
    ends = {key.partition(".")[2] for key in state}
    assert ends == {"lora_down.weight", "lora_up.weight", "alpha"}
    assert all("." not in key.removesuffix(f".{end}") for key in state for end in ends if key.endswith(f".{end}"))
    assert {state[key].item() for key in state if key.endswith(".alpha")} == {8.0}
    assert state["lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0.lora_down.weight"].shape[0] == 4
    assert {state[key].dtype for key in state if not key.endswith(".alpha")} == {torch.float16}
