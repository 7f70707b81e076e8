"""Stable Diffusion 1.x predicts noise, 2.x velocity: both are trained as the weights' own scheduler says."""

import json
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from diffusers import StableDiffusionPipeline
from transformers import CLIPTextConfig, CLIPTextModel

from pipeline.families import family
from pipeline.families.model_components import tokenise
from pipeline.train import _training_run
from pipeline.training.task import prepare
from tests import tiny_models
from tests.training import world


def _job(tmp_path, kind: str):
    base = tiny_models.write_sd(tmp_path / "base", prediction_type=kind)
    (tmp_path / "project").mkdir()
    paths = world.make_project(tmp_path / "project", base, prior={"weight": 0.0}, caption_dropout=0.0)
    return prepare(
        replace(_training_run(world.load(paths), paths), base=base), Accelerator(cpu=True), tmp_path / "cache"
    )


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_the_target_is_what_the_weights_predict(tmp_path, kind):
    job = _job(tmp_path, kind)
    optimiser = torch.optim.AdamW(job.trainable.parameters.values(), lr=5e-3)
    losses = []
    for _ in range(15):
        loss = job.loss(job.trainable.components, 0, range(4))
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    job.write_snapshot(tmp_path / "snapshot", 1)
    written = json.loads((tmp_path / "snapshot/scheduler/scheduler_config.json").read_text())
    assert written == json.loads((tmp_path / "base/scheduler/scheduler_config.json").read_text())
    assert StableDiffusionPipeline.from_pretrained(tmp_path / "snapshot").scheduler.config.prediction_type == kind


@torch.no_grad()
def test_the_shortened_text_encoder_of_2x_is_used_as_it_is(tmp_path):
    """2.x reads the last layer but one: its folder simply lacks the last one, and the norm comes after."""
    base = tiny_models.write_sd(tmp_path)
    config = CLIPTextConfig.from_pretrained(base / "text_encoder")
    whole = CLIPTextModel(CLIPTextConfig(**{**config.to_dict(), "num_hidden_layers": config.num_hidden_layers + 1}))
    whole.eval().save_pretrained(tmp_path / "whole")
    short = CLIPTextModel.from_pretrained(tmp_path / "whole", num_hidden_layers=config.num_hidden_layers)
    short.save_pretrained(base / "text_encoder")
    components = family("sd").load(base)
    expected = whole(tokenise(components, ["a bird"])[0], output_hidden_states=True).hidden_states[-2]
    assert torch.equal(family("sd").encode_prompt(components, ["a bird"]).states, whole.final_layer_norm(expected))
