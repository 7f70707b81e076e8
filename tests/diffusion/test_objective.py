import pytest
import torch
from diffusers import DDPMScheduler

from pipeline.core.errors import InputError
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
    x_0, noise = process.split(process.add_noise(x, e, t), process.target(x, e, t), t)
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
    with pytest.raises(InputError, match="predicts 'sample'; training knows epsilon and v_prediction"):
        objective.from_config({**BETAS, "prediction_type": "sample"})
