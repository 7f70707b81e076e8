"""What the stage makes of pictures, masks and params, and a training with every option on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.core.errors import InputError, Interrupted
from pipeline.families import family
from pipeline.families.model_components import Conditioning
from tests.training import world
from tests.training.test_loop import Recorder, trained

EVERYTHING = {
    "buckets": {"max_aspect": 2.0, "step_px": 2},
    "horizontal_flip": True,
    "masks": {"background_weight": 0.2},
    "batch_size": 4,
    "captions": ["{caption}", "a {class_noun} called {name}"],
    "prior": {"kind": "teacher", "weight": 0.5},
    "loss": {
        "kind": "huber",
        "min_snr_gamma": 5.0,
        "noise_offset": 0.05,
        "zero_terminal_snr": True,
        "timesteps": "logit_normal",
    },
}


def _mask(paths, name: str, size: tuple[int, int], white: int = 255) -> None:
    paths.masks.mkdir(parents=True, exist_ok=True)
    grey = np.zeros(size, dtype=np.uint8)
    grey[4:14, 6:16] = white
    Image.fromarray(grey).save(paths.masks / name)


@pytest.fixture
def full_project(project):
    """A project with pictures of several shapes and masks."""
    for number, (height, width) in enumerate([(20, 20), (20, 38), (40, 21), (20, 24)]):
        pixels = np.random.default_rng(number).integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(project.curated / f"train/{number:016x}.png")
    _mask(project, f"{0:016x}.png", (20, 20))
    _mask(project, f"{2:016x}.png", (40, 21))
    return project


@pytest.mark.parametrize("method", ["dreambooth", "lora"])
def test_with_every_option_an_interrupted_training_is_resumed_bit_for_bit(full_project, tmp_path, method):
    run = world.training_run(full_project, method=method, **EVERYTHING)
    straight = trained(run, tmp_path / "straight")
    with pytest.raises(Interrupted):
        trained(run, tmp_path / "broken", Recorder(stop_at=3))
    assert trained(run, tmp_path / "broken") == straight
    assert len({row[0] for row in straight[0]}) == 6


def test_with_every_option_accumulated_gradients_give_the_same_losses(full_project, tmp_path, monkeypatch):
    run = world.training_run(full_project, method="lora", **EVERYTHING)
    whole, _ = trained(run, tmp_path / "whole")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    parts, _ = trained(run, tmp_path / "parts")
    torch.testing.assert_close(torch.tensor(parts), torch.tensor(whole), atol=1e-5, rtol=1e-4)


def _lineage(paths, **train) -> str:
    return world.training_run(paths, **train).metadata["lineage_id"]


def test_masks_that_are_used_are_part_of_the_lineage(project):
    plain, used = _lineage(project), _lineage(project, masks={"background_weight": 0.5})
    _mask(project, f"{1:016x}.png", (20, 25))
    drawn = _lineage(project, masks={"background_weight": 0.5})
    _mask(project, f"{1:016x}.png", (20, 25), white=254)
    assert len({plain, used, drawn, _lineage(project, masks={"background_weight": 0.5})}) == 4
    assert _lineage(project, masks={"background_weight": 1.0}) == plain
    _mask(project, f"{5:016x}.png", (20, 29))  # of a held-out picture: it is not used
    pictures = world.training_run(project, masks={"background_weight": 0.5}).pictures
    assert [picture.mask is not None for picture in pictures] == [False, True, False, False, False]


def test_a_mask_without_a_picture_stops_the_stage_before_anything_is_loaded(project):
    _mask(project, "ffff.png", (20, 20))
    with pytest.raises(InputError, match="data/masks/dodo/ffff.png is the mask of no curated picture"):
        _lineage(project, masks={"background_weight": 0.5})
    _lineage(project, masks={"background_weight": 1.0})


def test_every_template_gives_a_sentence_with_the_name(project):
    pictures = world.training_run(project, captions=["{caption}", "a {class_noun}"]).pictures
    name = "Raphus cucullatus"
    assert pictures[0].sentences == (f"{name}, a painting number 0", f"{name}, a bird")
    assert pictures[0].caption == pictures[0].sentences[0]


@torch.no_grad()
def test_sizes_are_a_condition_of_sdxl_and_not_of_sd(sd_base, sdxl_base):
    noisy, t = torch.ones(2, 4, 8, 8), torch.tensor([400, 400])
    own = torch.tensor([[16.0, 16, 0, 0, 16, 16]] * 2)
    cropped = torch.tensor([[300.0, 200, 7, 0, 16, 16]] * 2)

    def predictions(name, base):
        components = family(name).load(base)
        prompts = family(name).encode_prompt(components, ["a bird", "a fish"])
        conditioned = (replace(prompts, sizes=sizes) for sizes in (None, own, cropped))
        return [family(name).predict(components, noisy, t, conditioning) for conditioning in conditioned]

    without, same, other = predictions("sdxl", sdxl_base)
    assert torch.equal(without, same) and not torch.allclose(without, other, atol=1e-5)
    without, same, other = predictions("sd", sd_base)
    assert torch.equal(without, same) and torch.equal(without, other)


def test_sizes_stay_with_their_sentences():
    prompts = Conditioning(torch.arange(3.0)[:, None, None], None, torch.arange(3.0)[:, None])
    assert prompts[[2, 0]].sizes.flatten().tolist() == [2, 0] and prompts.to(torch.device("meta")).sizes.is_meta
    assert prompts[[2, 0]].pooled is None


@pytest.mark.parametrize("edges", [(7, 9), (1, 1), (3, 8)])
@torch.no_grad()
def test_latents_that_a_unet_cannot_halve_evenly_keep_their_size(sd_base, edges):
    """diffusers' UNet enlarges to the size that it had on the way down, so every multiple of the VAE's works."""
    components = family("sd").load(sd_base)
    noisy = torch.ones(1, 4, *edges)
    prompts = family("sd").encode_prompt(components, ["a bird"])
    predicted = family("sd").predict(components, noisy, torch.tensor([400]), prompts)
    assert predicted.shape == noisy.shape and torch.isfinite(predicted).all()
