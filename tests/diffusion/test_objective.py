import pytest
import torch
from diffusers import DDPMScheduler

from pipeline.core.errors import InputError, ParamsError
from pipeline.diffusion import objective
from tests.tiny_models import BETAS

KINDS = ["epsilon", "v_prediction"]


def _tensors(n: int = 6):
    generator = torch.Generator().manual_seed(0)
    x, e = (torch.randn(n, 4, 3, 3, generator=generator) for _ in range(2))
    return x, e, torch.linspace(0, 999, n).long()


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_what_diffusers_schedulers_do(kind):
    config = {**BETAS, "prediction_type": kind}
    ours, theirs = objective.from_config(config), DDPMScheduler(**config)
    x, e, t = _tensors()
    torch.testing.assert_close(ours.add_noise(x, e, t), theirs.add_noise(x, e, t))
    wanted = e if kind == "epsilon" else theirs.get_velocity(x, e, t)
    torch.testing.assert_close(ours.target(x, e, t), wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_prediction_splits_into_latents_and_noise(kind):
    process = objective.from_config({**BETAS, "prediction_type": kind})
    x, e, t = _tensors()
    x_0, noise = process.clean_and_noise(process.add_noise(x, e, t), process.target(x, e, t), t)
    torch.testing.assert_close(x_0, x, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(noise, e, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_ddim_with_a_perfect_denoiser_arrives_at_its_latents(kind):
    process = objective.from_config({**BETAS, "prediction_type": kind})
    x, e, _ = _tensors(2)

    def perfect(x_t, t):
        a, s = process.coefficients(t)
        return process.target(x, (x_t - a * x) / s, t)

    start = process.add_noise(x, e, torch.tensor([999, 999]))
    drawn = objective.ddim(process, start, 10, perfect)
    a, s = process.coefficients(torch.tensor([0, 0]))
    torch.testing.assert_close(drawn, a * x + s * e, atol=1e-3, rtol=1e-3)


def test_betas_that_end_in_pure_noise_are_followed():
    process = objective.from_config({**BETAS, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True})
    assert process.alphas_cumprod[-1] < 1e-6


def test_weights_that_predict_the_picture_itself_are_refused():
    with pytest.raises(InputError, match="predicts 'sample'; training supports epsilon and v_prediction"):
        objective.from_config({**BETAS, "prediction_type": "sample"})


GAMMA = 5.0


@pytest.mark.parametrize("kind", KINDS)
def test_min_snr_weights_are_those_of_the_formula(kind):
    process = objective.from_config({**BETAS, "prediction_type": kind})
    t = torch.arange(0, 1000, 37)
    squared = DDPMScheduler(**BETAS).alphas_cumprod[t].double()
    snr = squared / (1 - squared)
    wanted = snr.clamp(max=GAMMA) / (snr if kind == "epsilon" else snr + 1)
    torch.testing.assert_close(process.min_snr_weights(t, GAMMA).double(), wanted, rtol=1e-5, atol=1e-7)
    assert wanted.min() < 0.2 and wanted.max() > 0.8  # the formula says something at these timesteps


def test_both_predictions_weigh_the_error_of_the_picture_alike():
    """One wrong answer is a wrong x_0: its weighted error must not depend on how the answer is written."""
    x, e, t = _tensors()
    x_0 = x + 0.1
    errors = []
    for kind in KINDS:
        process = objective.from_config({**BETAS, "prediction_type": kind})
        a, s = process.coefficients(t)
        noise = (process.add_noise(x, e, t) - a * x_0) / s
        wrong = process.target(x_0, noise, t) - process.target(x, e, t)
        errors.append(wrong.square().mean(dim=(1, 2, 3)) * process.min_snr_weights(t, GAMMA))
    torch.testing.assert_close(errors[0], errors[1], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_is_left_of_the_picture_the_weights_are_their_limits(kind):
    process = objective.Objective(torch.tensor([0.9, 0.5, 0.0]), kind)
    weights = process.min_snr_weights(torch.tensor([0, 1, 2]), GAMMA)
    assert torch.isfinite(weights).all()
    assert weights[2] == (1.0 if kind == "epsilon" else 0.0)


def test_zero_terminal_snr_is_what_diffusers_makes_of_the_betas():
    config = {**BETAS, "prediction_type": "v_prediction"}
    ours = objective.from_config(config).zero_terminal_snr()
    theirs = DDPMScheduler(**config, rescale_betas_zero_snr=True).alphas_cumprod
    torch.testing.assert_close(ours.alphas_cumprod, theirs, atol=1e-6, rtol=1e-4)
    assert ours.alphas_cumprod[-1] == 0
    torch.testing.assert_close(ours.alphas_cumprod[0], objective.from_config(config).alphas_cumprod[0])
    torch.testing.assert_close(ours.zero_terminal_snr().alphas_cumprod, ours.alphas_cumprod)


def test_at_the_last_step_of_zero_terminal_snr_the_answer_is_the_picture():
    process = objective.from_config({**BETAS, "prediction_type": "v_prediction"}).zero_terminal_snr()
    x, e, _ = _tensors(2)
    t = torch.tensor([999, 999])
    assert torch.equal(process.add_noise(x, e, t), e) and torch.equal(process.target(x, e, t), -x)


def test_zero_terminal_snr_of_weights_that_predict_noise_is_refused():
    with pytest.raises(ParamsError, match="zero_terminal_snr is for weights that predict velocity, and this base pred"):
        objective.from_config({**BETAS, "prediction_type": "epsilon"}).zero_terminal_snr()
