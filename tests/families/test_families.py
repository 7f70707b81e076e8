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
def components(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    written = {"sd": tiny_models.write_sd(folder / "sd"), "sdxl": tiny_models.write_sdxl(folder / "sdxl")}
    return {name: family(name).load(path) for name, path in written.items()}


def _pipeline(components):
    return components.family.pipeline(
        components, DDIMScheduler.from_config({**components.scheduler, "steps_offset": 1})
    )


@torch.no_grad()
def test_sd_encodes_prompts_as_its_pipeline_does(components):
    ours = family("sd").encode_prompt(components["sd"], PROMPTS)
    theirs, _ = _pipeline(components["sd"]).encode_prompt(PROMPTS, "cpu", 1, do_classifier_free_guidance=False)
    assert torch.equal(ours.states, theirs) and ours.pooled is None


@torch.no_grad()
def test_sdxl_encodes_prompts_as_its_pipeline_does(components):
    ours = family("sdxl").encode_prompt(components["sdxl"], PROMPTS)
    theirs = _pipeline(components["sdxl"]).encode_prompt(PROMPTS, device="cpu", do_classifier_free_guidance=False)
    states, _, pooled, _ = theirs
    assert torch.equal(ours.states, states) and torch.equal(ours.pooled, pooled)


@torch.no_grad()
def test_time_ids_are_those_of_an_uncropped_picture(components):
    assert time_ids(components["sdxl"], torch.zeros(2, 4, 8, 6)).tolist() == [[16, 12, 0, 0, 16, 12]] * 2


@torch.no_grad()
@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_a_prediction_has_the_shape_of_the_latents(components, name):
    conditioning = family(name).encode_prompt(components[name], PROMPTS)
    latents = torch.zeros(2, 4, 8, 8)
    assert family(name).predict(components[name], latents, torch.tensor([5, 900]), conditioning).shape == latents.shape


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_its_pipeline_draws(components, name):
    drawn = _pipeline(components[name])("a bird", num_inference_steps=2, height=16, width=16, guidance_scale=2.0)
    assert drawn.images[0].size == (16, 16)


def test_a_prompt_longer_than_the_window_is_cut(components):
    assert family("sd").encode_prompt(components["sd"], ["a" * 100]).states.shape[1] == tiny_models.CONTEXT


def test_scale_and_size_are_read_from_the_weights(components):
    assert components["sd"].pixels_per_latent == 2 and components["sd"].latent_channels == 4


def test_an_unknown_family_is_refused_with_the_nearest_name():
    with pytest.raises(ParamsError, match="base.family is 'sdx', which is not known; did you mean 'sdxl'?"):
        family("sdx")
    with pytest.raises(ParamsError, match="known are sd, sdxl"):
        family("flux")
