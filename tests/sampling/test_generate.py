"""Text to image: noise belongs to the seed alone, guidance and negative prompts work, empty pictures are errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.core.errors import InputError, ParamsError
from pipeline.core.records import SampleSpec
from pipeline.diffusion import samplers
from pipeline.families import family
from pipeline.families.model_components import tokens_cut
from pipeline.sampling import generate
from tests.tiny_models import write_sd, write_sdxl

SPEC = SampleSpec(prompt="a bird", seed=1, sampler="DDIM", steps=3, guidance_scale=3.0, width_px=16, height_px=16)


@pytest.fixture(scope="module")
def components(tmp_path_factory):
    return family("sd").load(write_sd(tmp_path_factory.mktemp("sd")))


@pytest.fixture(scope="module")
def components_xl(tmp_path_factory):
    return family("sdxl").load(write_sdxl(tmp_path_factory.mktemp("sdxl")))


def _arrays(components, *specs) -> list[np.ndarray]:
    return [np.asarray(image).astype(int) for image in generate.generate_images(components, specs)]


def test_a_picture_does_not_depend_on_its_neighbours(components):
    (alone,) = _arrays(components, SPEC)
    among = _arrays(components, replace(SPEC, seed=5), replace(SPEC, prompt="a fish", seed=9), SPEC)[2]
    assert np.abs(alone - among).max() <= 1  # the last bit of a float may


def test_it_is_the_picture_that_diffusers_draws_with_the_same_generator(components):
    """Nothing of ours stands between a seed and its picture: anyone can sample it again with the pipeline alone."""
    pipe = family("sd").pipeline(components, samplers.build("DDIM", components.scheduler))
    theirs = pipe(
        "a bird",
        width=16,
        height=16,
        num_inference_steps=3,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(1),
    ).images[0]
    assert np.abs(_arrays(components, SPEC)[0] - np.asarray(theirs)).max() <= 1


def test_it_is_the_picture_that_diffusers_draws_for_xl(components_xl):
    pipe = family("sdxl").pipeline(components_xl, samplers.build("Euler", components_xl.scheduler))
    theirs = pipe(
        "a bird",
        width=16,
        height=16,
        num_inference_steps=3,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(1),
    ).images[0]
    assert np.abs(_arrays(components_xl, replace(SPEC, sampler="Euler"))[0] - np.asarray(theirs)).max() <= 1


@pytest.mark.parametrize("model", ["components", "components_xl"])
def test_a_negative_prompt_and_guidance_change_the_picture(model, request):
    components = request.getfixturevalue(model)
    (plain,) = _arrays(components, SPEC)
    for change in ({"negative_prompt": "a fish"}, {"guidance_scale": 1.0}):
        assert (plain != _arrays(components, replace(SPEC, **change))[0]).any()


def test_at_guidance_one_the_negative_prompt_is_inert(components):
    plain = replace(SPEC, guidance_scale=1.0)
    assert (_arrays(components, plain)[0] == _arrays(components, replace(plain, negative_prompt="a fish"))[0]).all()


@pytest.mark.parametrize("sampler", samplers.SAMPLERS)
def test_every_sampler_of_the_table_samples_and_repeats_itself(components, sampler):
    specs = [replace(SPEC, sampler=sampler, seed=seed) for seed in (1, 2)]
    first, second = _arrays(components, *specs), _arrays(components, *specs)
    assert (np.stack(first) == np.stack(second)).all()
    assert (first[0] != first[1]).any()


def test_noise_of_a_stochastic_sampler_belongs_to_the_seed_too(components):
    spec = replace(SPEC, sampler="Euler a")
    assert np.abs(_arrays(components, spec)[0] - _arrays(components, replace(spec, seed=3), spec)[1]).max() <= 1


def test_width_and_height_may_differ(components):
    assert generate.generate_images(components, [replace(SPEC, width_px=24, height_px=16)])[0].size == (24, 16)


def test_specs_with_different_settings_are_refused_as_a_batch(components):
    with pytest.raises(ValueError, match="a batch shares sampler"):
        generate.generate_images(components, [SPEC, replace(SPEC, steps=4)])


def test_a_side_that_is_no_multiple_of_eight_is_refused_with_the_nearest(components):
    with pytest.raises(ParamsError, match="sample.height_px is 30, which is no multiple of 8; use 32"):
        generate.generate_images(components, [replace(SPEC, height_px=30)])


@pytest.mark.parametrize(
    "pixels, sentence",
    [
        (np.zeros((4, 4, 3)), "is black"),
        (np.full((4, 4, 3), [0.2, 0.5, 0.9]), "is of one colour"),
        (np.full((4, 4, 3), np.nan), "is not a number"),
    ],
)
def test_an_empty_picture_is_an_error_that_names_its_spec(pixels, sentence):
    with pytest.raises(InputError, match=f"the picture for 'a bird' with seed 1 {sentence}"):
        generate._checked_image(pixels, SPEC)


def test_tokens_beyond_the_window_are_counted(components):
    assert tokens_cut(components, "a bird") == 0
    assert tokens_cut(components, "abcdefghijkl") == 2  # one token a letter, a start and an end, in a window of 12
