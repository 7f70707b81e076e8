"""The loss of some slots: what counts how much, and who knows the answer."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from pipeline.core import params as params_module
from pipeline.diffusion import objective
from pipeline.families.model_components import Conditioning
from pipeline.training.data.batches import Bucket, Examples, SamplingSettings, batch_at
from pipeline.training.denoising_loss import DenoisingLoss
from pipeline.training.error_functions import mean_error
from tests.project import ROOT
from tests.tiny_models import BETAS

GAMMA = 5.0


def _loss(**changes):
    return params_module.load(ROOT / "params.yaml").train.loss.model_copy(update=changes)


class _Family:
    """Answers with the parts times what it is shown, and remembers what it was told."""

    def __init__(self):
        self.asked = []

    def predict(self, parts, noisy, timesteps, conditioning):
        self.asked.append((parts, noisy, timesteps, conditioning))
        return noisy * parts


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


def _prompts(parts, rows) -> Conditioning:
    return Conditioning(rows[:, None].float())


def _lesson(bucket: Bucket | None = None, predicts: str = "epsilon", zero: bool = False, **loss) -> DenoisingLoss:
    process = objective.from_config({**BETAS, "prediction_type": predicts})
    return DenoisingLoss(
        _Family(),
        process.zero_terminal_snr() if zero else process,
        _loss(**loss),
        Examples((bucket or _bucket(),), ("", "a", "b")),
        SamplingSettings(1, 8, False, 0.1, 0.3),
        _prompts,
    )


def _by_hand(lesson: DenoisingLoss, step: int, parts: float, weight) -> torch.Tensor:
    """The loss of a step, written out slot by slot."""
    batch = batch_at(step, range(8), lesson.examples, lesson.draw, 1000)
    total = 0.0
    for place in range(8):
        x, e, t = batch.clean[place], batch.noise[place], int(batch.timesteps[place])
        squared = lesson.objective.alphas_cumprod[t].double()
        a, s = squared.sqrt(), (1 - squared).sqrt()
        wanted = e if lesson.objective.prediction_type == "epsilon" else a * e - s * x
        error = ((a * x + s * e) * parts - wanted).square()
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
def test_min_snr_weighs_species_and_prior_examples_by_their_own_timesteps(kind, zero, masks):
    lesson = _lesson(_bucket(masks=masks), kind, zero, min_snr_gamma=GAMMA)
    for step in range(4):
        got = lesson(0.7, step, range(8))
        torch.testing.assert_close(got.double(), _by_hand(lesson, step, 0.7, WEIGHTS[kind]), rtol=1e-4, atol=1e-6)


def test_the_last_timestep_of_zero_terminal_snr_gives_a_number():
    lesson = _lesson(predicts="v_prediction", zero=True, min_snr_gamma=GAMMA)
    t = torch.tensor([999, 0, 500])
    predicted = torch.randn(3, 4, 8, 8, requires_grad=True)
    loss = mean_error(lesson.settings, lesson.objective, predicted, torch.zeros(3, 4, 8, 8), t)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(predicted.grad).all()


def test_without_weights_it_is_the_mean_squared_error_to_the_bit():
    lesson = _lesson()
    batch = batch_at(3, range(8), lesson.examples, lesson.draw, 1000)
    noisy = lesson.objective.add_noise(batch.clean, batch.noise, batch.timesteps)
    wanted = torch.nn.functional.mse_loss(noisy * 0.7, batch.noise)
    assert torch.equal(lesson(0.7, 3, range(8)), wanted)


def test_hubers_error_is_half_the_square_near_and_a_line_far():
    predicted = torch.tensor([0.05, -0.1, 0.5, -3.0]).view(4, 1, 1, 1)
    each = [0.05**2 / 2, 0.1**2 / 2, 0.1 * (0.5 - 0.05), 0.1 * (3.0 - 0.05)]
    process, t = objective.from_config(BETAS), torch.zeros(4, dtype=torch.long)
    got = mean_error(_loss(kind="huber", huber_delta=0.1), process, predicted, torch.zeros_like(predicted), t)
    assert got.item() == pytest.approx(sum(each) / 4)
    weighed = _loss(kind="huber", huber_delta=0.1, min_snr_gamma=1e9)  # no timestep is that clear: weights of one
    assert mean_error(weighed, process, predicted, torch.zeros_like(predicted), t).item() == pytest.approx(got.item())


@pytest.mark.parametrize("shares", [[range(4), range(4, 8)], [[slot] for slot in range(8)]])
@pytest.mark.parametrize("loss", [{}, {"min_snr_gamma": GAMMA, "kind": "huber"}])
def test_the_loss_of_a_batch_is_the_mean_of_its_parts(shares, loss):
    lesson = _lesson(_bucket(masks=True), **loss)
    parts = torch.stack([lesson(0.7, 5, slots) for slots in shares]).mean()
    torch.testing.assert_close(parts, lesson(0.7, 5, range(8)))


def _taught(in_step: bool = False) -> tuple[DenoisingLoss, list[str]]:
    opened: list[str] = []

    @contextmanager
    def teacher():
        opened.append("open")
        yield 0.3
        opened.append("closed")

    own = _bucket(0)
    bucket = replace(own, texts=own.texts + ((2,),) * 4, names=own.names + ("teacher",) * 4)
    return replace(_lesson(bucket), teacher=teacher, in_step=in_step), opened


def test_a_teacher_answers_to_prior_examples_and_to_no_others():
    lesson, opened = _taught()
    step = next(s for s in range(9) if len(batch_at(s, range(8), lesson.examples, lesson.draw, 1000).prior) == 2)
    batch = batch_at(step, range(8), lesson.examples, lesson.draw, 1000)
    noisy = lesson.objective.add_noise(batch.clean, batch.noise, batch.timesteps)
    wanted = batch.noise.clone()
    wanted[list(batch.prior)] = 0.3 * noisy[list(batch.prior)]
    assert torch.equal(lesson(0.7, step, range(8)), torch.nn.functional.mse_loss(noisy * 0.7, wanted))
    assert opened == ["open", "closed"]
    (parts, shown, t, told), (_, _, _, learnt) = lesson.family.asked
    assert parts == 0.3 and torch.equal(shown, noisy[list(batch.prior)])
    assert torch.equal(t, batch.timesteps[list(batch.prior)])
    assert torch.equal(told.states[:, 0], batch.texts[list(batch.prior)].float())  # with the class, or no, sentence
    assert torch.equal(told.sizes, batch.sizes[list(batch.prior)]) and torch.equal(learnt.sizes, batch.sizes)


@pytest.mark.parametrize("in_step", [False, True])
def test_a_teacher_is_asked_where_there_is_a_prior_example_or_in_step_everywhere(in_step):
    lesson, opened = _taught(in_step)
    plain = replace(lesson, teacher=None)
    whole = batch_at(2, range(8), lesson.examples, lesson.draw, 1000)
    for slot in range(8):
        opened.clear()
        loss = lesson(0.7, 2, [slot])
        assert bool(opened) == (in_step or slot in whole.prior)
        if slot not in whole.prior:
            assert torch.equal(loss, plain(0.7, 2, [slot]))


def test_a_step_names_what_it_has_seen():
    lesson = _lesson()
    batch = batch_at(4, range(8), lesson.examples, lesson.draw, 1000)
    seen = lesson.seen(4)
    assert [place for place, name in enumerate(seen) if name == "prior"] == list(batch.prior)
    rows = [lesson.examples.buckets[0].names.index(name) for name in seen if name != "prior"]
    shown = [row for place, row in enumerate(batch.clean) if place not in batch.prior]
    assert all(torch.equal(lesson.examples.buckets[0].latents[row, 0], x) for row, x in zip(rows, shown, strict=True))
