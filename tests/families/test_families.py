"""Stable Diffusion and SDXL: what our families do is what diffusers' own pipelines do."""

import pytest
import torch
from diffusers import DDIMScheduler

from pipeline.core.errors import ParamsError
from pipeline.families import family
from pipeline.families.sdxl import time_ids
from tests import tiny_models

PROMPTS = ["", "a painting of a long tailed bird"]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    written = {"sd": tiny_models.write_sd(folder / "sd"), "sdxl": tiny_models.write_sdxl(folder / "sdxl")}
    return {name: family(name).load(path) for name, path in written.items()}


def _pipeline(parts):
    return parts.family.pipeline(parts, DDIMScheduler.from_config({**parts.scheduler, "steps_offset": 1}))


@torch.no_grad()
def test_sd_reads_prompts_as_its_pipeline_does(parts):
    ours = family("sd").encode_prompt(parts["sd"], PROMPTS)
    theirs, _ = _pipeline(parts["sd"]).encode_prompt(PROMPTS, "cpu", 1, do_classifier_free_guidance=False)
    assert torch.equal(ours.states, theirs) and ours.pooled is None


@torch.no_grad()
def test_sdxl_reads_prompts_as_its_pipeline_does(parts):
    ours = family("sdxl").encode_prompt(parts["sdxl"], PROMPTS)
    theirs = _pipeline(parts["sdxl"]).encode_prompt(PROMPTS, device="cpu", do_classifier_free_guidance=False)
    states, _, pooled, _ = theirs
    assert torch.equal(ours.states, states) and torch.equal(ours.pooled, pooled)


@torch.no_grad()
def test_sdxl_tells_the_size_of_an_uncropped_picture(parts):
    assert time_ids(parts["sdxl"], torch.zeros(2, 4, 8, 6)).tolist() == [[16, 12, 0, 0, 16, 12]] * 2


@torch.no_grad()
@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_a_prediction_has_the_shape_of_the_latents(parts, name):
    conditioning = family(name).encode_prompt(parts[name], PROMPTS)
    latents = torch.zeros(2, 4, 8, 8)
    assert family(name).predict(parts[name], latents, torch.tensor([5, 900]), conditioning).shape == latents.shape


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_its_pipeline_draws(parts, name):
    drawn = _pipeline(parts[name])("a bird", num_inference_steps=2, height=16, width=16, guidance_scale=2.0)
    assert drawn.images[0].size == (16, 16)


def test_a_prompt_longer_than_the_window_is_cut(parts):
    assert family("sd").encode_prompt(parts["sd"], ["a" * 100]).states.shape[1] == tiny_models.CONTEXT


def test_scale_and_size_are_read_from_the_weights(parts):
    assert parts["sd"].pixels_per_latent == 2 and parts["sd"].latent_channels == 4


def test_an_unknown_family_answers_with_the_nearest():
    with pytest.raises(ParamsError, match="base.family is 'sdx', which is not known; did you mean 'sdxl'?"):
        family("sdx")
    with pytest.raises(ParamsError, match="known are sd, sdxl"):
        family("flux")
