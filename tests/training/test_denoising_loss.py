"""The denoising loss of some slots: weights, targets and the teacher."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from pipeline.diffusion import objective
from pipeline.families.model_components import Conditioning
from pipeline.training.data.batches import Bucket, EncodedDataset, SamplingSettings, batch_at
from pipeline.training.denoising_loss import DenoisingLoss, mean_error
from tests.tiny_models import BETAS
from tests.training.world import train_params

GAMMA = 5.0


def _params(**changes):
    return train_params(loss=changes).loss


class _Family:
    """Predicts the noisy latents times the model's scale, and records its arguments."""

    def __init__(self):
        self.calls = []

    def predict(self, model, noisy, timesteps, conditioning):
        self.calls.append((model.scale, noisy, timesteps, conditioning))
        return noisy * model.scale


class _Model(SimpleNamespace):
    """Stands in for ModelComponents."""


def _model(scale: float, family: _Family | None = None) -> _Model:
    return _Model(scale=scale, family=family or _Family())


def _bucket(n_prior: int = 2, masks: bool = False) -> Bucket:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(4 + n_prior, 1, 4, 8, 8, generator=generator)
    white = torch.rand(4, 1, 1, 8, 8, generator=generator)
    white = white / white.mean(dim=(-1, -2), keepdim=True)
    return Bucket(
        latents,
        ((1,),) * 4 + ((2,),) * n_prior,
        4,
        tuple("abcd") + ("prior",) * n_prior,
        sizes=torch.rand(4 + n_prior, 1, 6),
        masks=white if masks else None,
    )


def _prompts(components, rows) -> Conditioning:
    return Conditioning(rows[:, None].float())


def _denoising_loss(
    bucket: Bucket | None = None, predicts: str = "epsilon", zero: bool = False, **loss
) -> DenoisingLoss:
    process = objective.from_config({**BETAS, "prediction_type": predicts})
    return DenoisingLoss(
        process.zero_terminal_snr() if zero else process,
        _params(**loss),
        EncodedDataset((bucket or _bucket(),), ("", "a", "b")),
        SamplingSettings(1, 8, False, 0.1, 0.3),
        _prompts,
    )


def _by_hand(loss_of: DenoisingLoss, step: int, scale: float, weight) -> torch.Tensor:
    """The loss of a step, written out slot by slot."""
    batch = batch_at(step, range(8), loss_of.dataset, loss_of.sampling, 1000)
    total = 0.0
    for place in range(8):
        x, e, t = batch.clean[place], batch.noise[place], int(batch.timesteps[place])
        squared = loss_of.objective.alphas_cumprod[t].double()
        a, s = squared.sqrt(), (1 - squared).sqrt()
        wanted = e if loss_of.objective.prediction_type == "epsilon" else a * e - s * x
        error = ((a * x + s * e) * scale - wanted).square()
        if batch.masks is not None:
            error = error * batch.masks[place]
        total += weight(squared / (1 - squared)) * error.double().mean()
    return total / 8


WEIGHTS = {
    "epsilon": lambda snr: min(float(snr), GAMMA) / float(snr),
    "v_prediction": lambda snr: min(float(snr), GAMMA) / (float(snr) + 1),
}


@pytest.mark.parametrize(("kind", "zero"), [("epsilon", False), ("v_prediction", False), ("v_prediction", True)])
@pytest.mark.parametrize("masks", [False, True])
def test_min_snr_weights_species_and_prior_examples_by_their_own_timesteps(kind, zero, masks):
    loss_of = _denoising_loss(_bucket(masks=masks), kind, zero, min_snr_gamma=GAMMA)
    for step in range(4):
        got = loss_of(_model(0.7), step, range(8))
        torch.testing.assert_close(got.double(), _by_hand(loss_of, step, 0.7, WEIGHTS[kind]), rtol=1e-4, atol=1e-6)


def test_the_last_timestep_of_zero_terminal_snr_gives_a_number():
    loss_of = _denoising_loss(predicts="v_prediction", zero=True, min_snr_gamma=GAMMA)
    t = torch.tensor([999, 0, 500])
    predicted = torch.randn(3, 4, 8, 8, requires_grad=True)
    loss = mean_error(loss_of.params, loss_of.objective, predicted, torch.zeros(3, 4, 8, 8), t)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(predicted.grad).all()


def test_without_weights_it_is_the_mean_squared_error_to_the_bit():
    loss_of = _denoising_loss()
    batch = batch_at(3, range(8), loss_of.dataset, loss_of.sampling, 1000)
    noisy = loss_of.objective.add_noise(batch.clean, batch.noise, batch.timesteps)
    wanted = torch.nn.functional.mse_loss(noisy * 0.7, batch.noise)
    assert torch.equal(loss_of(_model(0.7), 3, range(8)), wanted)


def test_hubers_error_is_half_the_square_near_and_a_line_far():
    predicted = torch.tensor([0.05, -0.1, 0.5, -3.0]).view(4, 1, 1, 1)
    each = [0.05**2 / 2, 0.1**2 / 2, 0.1 * (0.5 - 0.05), 0.1 * (3.0 - 0.05)]
    process, t = objective.from_config(BETAS), torch.zeros(4, dtype=torch.long)
    got = mean_error(_params(kind="huber", huber_delta=0.1), process, predicted, torch.zeros_like(predicted), t)
    assert got.item() == pytest.approx(sum(each) / 4)
    weighted = _params(kind="huber", huber_delta=0.1, min_snr_gamma=1e9)  # no timestep is that clear: weights of one
    assert mean_error(weighted, process, predicted, torch.zeros_like(predicted), t).item() == pytest.approx(got.item())


@pytest.mark.parametrize("shares", [[range(4), range(4, 8)], [[slot] for slot in range(8)]])
@pytest.mark.parametrize("loss", [{}, {"min_snr_gamma": GAMMA, "kind": "huber"}])
def test_the_loss_of_a_batch_is_the_mean_of_its_parts(shares, loss):
    loss_of = _denoising_loss(_bucket(masks=True), **loss)
    accumulated = torch.stack([loss_of(_model(0.7), 5, slots) for slots in shares]).mean()
    torch.testing.assert_close(accumulated, loss_of(_model(0.7), 5, range(8)))


def _with_teacher(always: bool = False, family: _Family | None = None) -> tuple[DenoisingLoss, list[str]]:
    opened: list[str] = []

    @contextmanager
    def teacher():
        opened.append("open")
        yield _model(0.3, family)
        opened.append("closed")

    own = _bucket(0)
    bucket = replace(own, texts=own.texts + ((2,),) * 4, names=own.names + ("teacher",) * 4)
    return replace(_denoising_loss(bucket), teacher=teacher, teacher_always=always), opened


def test_a_teacher_predicts_for_prior_examples_and_no_others():
    family = _Family()
    loss_of, opened = _with_teacher(family=family)
    step = next(s for s in range(9) if len(batch_at(s, range(8), loss_of.dataset, loss_of.sampling, 1000).prior) == 2)
    batch = batch_at(step, range(8), loss_of.dataset, loss_of.sampling, 1000)
    noisy = loss_of.objective.add_noise(batch.clean, batch.noise, batch.timesteps)
    wanted = batch.noise.clone()
    wanted[list(batch.prior)] = 0.3 * noisy[list(batch.prior)]
    assert torch.equal(loss_of(_model(0.7, family), step, range(8)), torch.nn.functional.mse_loss(noisy * 0.7, wanted))
    assert opened == ["open", "closed"]
    (scale, latents, t, prompts), (_, _, _, trained) = family.calls
    assert scale == 0.3 and torch.equal(latents, noisy[list(batch.prior)])
    assert torch.equal(t, batch.timesteps[list(batch.prior)])
    assert torch.equal(
        prompts.states[:, 0], batch.texts[list(batch.prior)].float()
    )  # the class prompt, or the empty one
    assert torch.equal(prompts.sizes, batch.sizes[list(batch.prior)]) and torch.equal(trained.sizes, batch.sizes)


@pytest.mark.parametrize("always", [False, True])
def test_a_teacher_predicts_where_there_is_a_prior_example_or_always(always):
    loss_of, opened = _with_teacher(always)
    plain = replace(loss_of, teacher=None)
    whole = batch_at(2, range(8), loss_of.dataset, loss_of.sampling, 1000)
    for slot in range(8):
        opened.clear()
        loss = loss_of(_model(0.7), 2, [slot])
        assert bool(opened) == (always or slot in whole.prior)
        if slot not in whole.prior:
            assert torch.equal(loss, plain(_model(0.7), 2, [slot]))


def test_the_examples_of_a_step_are_named():
    loss_of = _denoising_loss()
    batch = batch_at(4, range(8), loss_of.dataset, loss_of.sampling, 1000)
    names = loss_of.examples_of(4)
    assert [place for place, name in enumerate(names) if name == "prior"] == list(batch.prior)
    rows = [loss_of.dataset.buckets[0].names.index(name) for name in names if name != "prior"]
    used = [row for place, row in enumerate(batch.clean) if place not in batch.prior]
    assert all(torch.equal(loss_of.dataset.buckets[0].latents[row, 0], x) for row, x in zip(rows, used, strict=True))
