"""The scheduler table: every row builds, solves a problem with a known answer, and survives saving."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline

from pipeline.core.errors import ParamsError
from pipeline.diffusion.samplers import REFUSED, SAMPLERS, build, find

SD15 = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}
MEAN, DEVIATION = 0.5, 0.3
NOISY = ("DDPM", "Euler a", "DPM2 a", "DPM2 a Karras")
STOCHASTIC = [name for name in SAMPLERS if name in NOISY or "SDE" in name]
EXACT = [name for name in SAMPLERS if name not in STOCHASTIC]


CUMULATIVE = DDIMScheduler(**SD15).alphas_cumprod.double()


def _alpha(timestep: float) -> torch.Tensor:
    """Of the model, between two trained timesteps where the sampler asks there."""
    noise = ((1 - CUMULATIVE) / CUMULATIVE).sqrt()
    low = int(timestep)
    high = min(low + 1, len(noise) - 1)
    sigma = noise[low] + (noise[high] - noise[low]) * (timestep - low)
    return (1 / (1 + sigma**2)).sqrt()


def _model(sample: torch.Tensor, timestep: torch.Tensor, kind: str) -> torch.Tensor:
    """The exact denoiser of data that follow N(MEAN, DEVIATION²)."""
    alpha = _alpha(float(timestep))
    sigma = (1 - alpha**2).sqrt()
    epsilon = sigma * (sample - alpha * MEAN) / (alpha**2 * DEVIATION**2 + sigma**2)
    clean = (sample - sigma * epsilon) / alpha
    return epsilon if kind == "epsilon" else alpha * epsilon - sigma * clean


def _public(scheduler) -> dict:
    return {key: value for key, value in scheduler.config.items() if not key.startswith("_")}


def _solve(name: str, steps: int, kind: str = "epsilon", n: int = 512) -> tuple[torch.Tensor, torch.Tensor]:
    scheduler = build(name, {**SD15, "prediction_type": kind})
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(1, 1, 1, n, generator=generator, dtype=torch.float64)
    sample = start * scheduler.init_noise_sigma
    takes_generator = "generator" in scheduler.step.__code__.co_varnames
    extra = {"generator": generator} if takes_generator else {}
    for timestep in scheduler.timesteps:
        output = _model(scheduler.scale_model_input(sample, timestep), timestep, kind)
        sample = scheduler.step(output, timestep, sample, **extra).prev_sample
    return start, sample


@pytest.mark.parametrize("name", EXACT)
def test_a_deterministic_sampler_follows_the_exact_flow_of_a_gaussian(name):
    start, end = _solve(name, steps=60)
    # the flow only scales and shifts: noise z ends at MEAN + DEVIATION z
    assert float((end - MEAN - DEVIATION * start).square().mean().sqrt()) < 0.03


@pytest.mark.parametrize("name", STOCHASTIC)
def test_a_stochastic_sampler_ends_with_the_right_mean_and_deviation(name):
    _, end = _solve(name, steps=200, n=8192)
    assert float(end.mean()) == pytest.approx(MEAN, abs=0.015)
    assert float(end.std()) == pytest.approx(DEVIATION, abs=0.025)


@pytest.mark.parametrize("name", [name for name in EXACT if name != "PLMS"])  # which averages what is predicted
def test_predicting_velocity_or_noise_is_the_same_to_a_sampler(name):
    assert torch.allclose(_solve(name, 10)[1], _solve(name, 10, "v_prediction")[1], atol=2e-3)


def test_the_grids_are_those_of_the_reference_programs():
    grids = {name: build(name, SD15) for name in ("DDIM", "Euler", "DPM++ 2M", "PLMS", "Heun")}
    for scheduler in grids.values():
        scheduler.set_timesteps(20)
    assert grids["DDIM"].timesteps[:2].tolist() == [951, 901] and grids["DDIM"].timesteps[-1] == 1
    assert grids["Euler"].timesteps[0] == 999 and grids["Euler"].timesteps[-1] == 0
    assert grids["DPM++ 2M"].timesteps[:2].tolist() == [999, 949]
    assert len(grids["PLMS"].timesteps) == 21 and len(grids["Heun"].timesteps) == 39


@pytest.mark.parametrize("name", SAMPLERS)
def test_saving_and_loading_changes_no_timestep(name, tmp_path):
    """The trap that the table is for: a folder saved with one sampler gives another the wrong spacing."""
    first = build(name, SD15)
    first.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "scheduler_config.json").read_text())
    again = build(name, saved)
    first.set_timesteps(10)
    again.set_timesteps(10)
    assert first.timesteps.tolist() == again.timesteps.tolist()
    assert _public(first) == _public(again)


def test_flags_of_the_checkpoint_decide_nothing():
    misled = {**SD15, "timestep_spacing": "trailing", "steps_offset": 7, "clip_sample": True, "use_karras_sigmas": True}
    for name in SAMPLERS:
        plain, same = build(name, SD15), build(name, misled)
        plain.set_timesteps(10)
        same.set_timesteps(10)
        assert plain.timesteps.tolist() == same.timesteps.tolist()
        assert not same.config.get("clip_sample")


def test_betas_and_prediction_type_of_the_checkpoint_are_kept():
    scheduler = build("Euler", {**SD15, "beta_end": 0.02, "prediction_type": "v_prediction"})
    assert scheduler.config.beta_end == 0.02
    assert scheduler.config.prediction_type == "v_prediction"


def test_weights_with_zero_terminal_snr_are_sampled_from_pure_noise():
    scheduler = build("DDIM", {**SD15, "rescale_betas_zero_snr": True})
    scheduler.set_timesteps(20)
    assert scheduler.timesteps[0] == 999
    assert float(scheduler.alphas_cumprod[-1]) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ParamsError, match="'PLMS' cannot start from pure noise"):
        build("PLMS", {**SD15, "rescale_betas_zero_snr": True})


@pytest.mark.parametrize("name", [*REFUSED, "DPM++ SDE Karras", "DPM++ 2S a Karras"])
def test_a_sampler_known_to_be_wrong_is_refused_with_the_reason(name):
    with pytest.raises(ParamsError, match=f"sampler '{name.replace('+', '.')}' is refused: .+; known are DDIM, "):
        find(name)


@pytest.mark.parametrize("name, near", [("ddim", "DDIM"), ("Eular", "Euler"), ("DPM++ 2M karras", "DPM++ 2M Karras")])
def test_an_unknown_sampler_is_answered_with_the_nearest(name, near):
    with pytest.raises(ParamsError, match="did you mean") as error:
        find(name)
    assert repr(near) in str(error.value)


def test_a_name_like_nothing_is_answered_with_all():
    with pytest.raises(ParamsError, match="known are DDIM, DDPM"):
        find("xyz")


def test_the_pipeline_of_a_saved_folder_gets_the_same_scheduler(tmp_path):
    """The whole way: a folder with any scheduler config, saved as a pipeline, read back."""
    from tests.tiny_models import write_sd

    folder = write_sd(tmp_path / "model")
    before = build("Euler", json.loads((folder / "scheduler/scheduler_config.json").read_text()))
    pipe = DiffusionPipeline.from_pretrained(folder, scheduler=before)
    pipe.save_pretrained(tmp_path / "saved")
    after = build("Euler", json.loads((tmp_path / "saved/scheduler/scheduler_config.json").read_text()))
    before.set_timesteps(10)
    after.set_timesteps(10)
    assert before.timesteps.tolist() == after.timesteps.tolist()
