"""Overhead of the training loop, against forward, backward and optimiser alone on tensors that lie ready.

Both train in one process, on two copies of the model. After every few steps the loop reports, and is kept there while
the model alone takes as many; so both have the same threads, caches and neighbours.
"""

from __future__ import annotations

import cProfile
import pstats
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator

from benchmarks import training_runs
from benchmarks.claims import Claim
from benchmarks.interleaved import UNLIMITED_STEPS, Rounds
from benchmarks.training_runs import TrainingSetting
from benchmarks.worker import run_worker
from pipeline.core.records import StepReport
from pipeline.families.model_components import Conditioning, ModelComponents, tokenise
from pipeline.methods import method
from pipeline.training.checkpoint.state import CheckpointStore
from pipeline.training.loop import Hooks, TrainingJob, train_to_end

PROMPT = "a painting of a bird"
MIN_SHARE_PERCENT = 0.5  # of a step; what is less is not listed
BEFORE_FIRST_STEP = ("train_to_end", "__init__", "resume")
LOOP_FILES = ("training/loop.py", "training/denoising_loss.py")


@dataclass(frozen=True)
class Overhead:
    """Seconds a step, medians over rounds, and the median of the rounds' own ratios."""

    loop_seconds: float
    model_seconds: float
    speed: float  # of the loop, where the model alone has 1


def measure(
    setting: TrainingSetting, name: str, folder: Path, device: str, precision: str, rounds: Rounds
) -> list[Claim]:
    """On a CPU also what the time of a step is spent on."""
    result = run_worker("loop_overhead", setting, folder, device, precision, rounds=rounds.rounds, steps=rounds.steps)
    percents = {call: 100 * share for call, share in result["shares"].items()}
    return [
        Claim(f"{name}: speed of the loop, of the model alone", result["speed"], "x", at_least=0.95),
        Claim(f"{name}: a step of the loop", result["loop_seconds"], "s"),
        Claim(f"{name}: a step of the model alone", result["model_seconds"], "s"),
        *(
            Claim(f"{name}: `{call}`, of a step", percent, "%")
            for call, percent in percents.items()
            if percent >= MIN_SHARE_PERCENT
        ),
    ]


def run_in_worker(
    setting: TrainingSetting, accelerator: Accelerator, folder: Path, rounds: int, steps: int
) -> dict[str, Any]:
    """`Overhead` and, on a CPU, `shares`: of a step, by what the loop calls."""
    in_loop, alone = (unlimited_job(setting, accelerator, folder) for _ in range(2))
    step = model_step(alone, setting, accelerator)
    overhead = time_side_by_side(in_loop, step, accelerator, folder, rounds, steps)
    shares = {}
    if accelerator.device.type == "cpu":
        profiled = unlimited_job(setting, accelerator, folder)
        shares = time_shares(profiled, accelerator, folder, rounds * steps // 2)
    return asdict(overhead) | {"shares": shares}


def time_side_by_side(
    job: TrainingJob, step: Callable[[], None], accelerator: Accelerator, folder: Path, rounds: int, steps: int
) -> Overhead:
    """`rounds` of `steps` each, after one round that does not count; `step` is the model alone."""
    loop, alone = [], []
    resumed_s = time.perf_counter()

    def on_step(report: StepReport) -> None:
        nonlocal resumed_s
        if report.step % steps == 0:
            loop.append((_now_s(accelerator) - resumed_s) / steps)
            alone.append(time_steps(step, steps, accelerator) / steps)
            resumed_s = _now_s(accelerator)

    train(job, accelerator, folder, (rounds + 1) * steps, on_step)
    ratios = [without / within for within, without in zip(loop[1:], alone[1:])]
    return Overhead(statistics.median(loop[1:]), statistics.median(alone[1:]), statistics.median(ratios))


def train(
    job: TrainingJob, accelerator: Accelerator, folder: Path, steps: int, on_step: Callable[[StepReport], None]
) -> None:
    """The project's loop from its first step, without saving."""
    settings = replace(job.settings, steps=steps, snapshots=(), save_every_steps=steps + 1)
    hooks = Hooks(on_step=on_step, log=print, should_stop=lambda: False, clock=time.perf_counter)
    unmonitored = replace(job, settings=settings, monitor=lambda step: None)
    train_to_end(unmonitored, accelerator, CheckpointStore(folder, "benchmark"), hooks)


def unlimited_job(setting: TrainingSetting, accelerator: Accelerator, folder: Path) -> TrainingJob:
    """A job with more steps than will be taken."""
    unlimited = replace(setting, changes=setting.changes | {"steps": UNLIMITED_STEPS})
    return training_runs.training_job(unlimited, accelerator, folder / "cache")


def model_step(job: TrainingJob, setting: TrainingSetting, accelerator: Accelerator) -> Callable[[], None]:
    """One step of the model alone: with its text encoder where that is trained, or else with its states ready."""
    components, train = job.trainable.components, setting.train
    trains_text_encoder = method(train.method).trains_text_encoder(train)
    if accelerator.device.type == "cuda":
        components.unet.to(memory_format=torch.channels_last)  # as the loop has it
    optimiser = job.optimiser(job.trainable)
    inputs = _model_inputs(components, job.settings.batch_size, setting.side_px)
    family = components.family

    def step() -> None:
        with accelerator.autocast():
            states = family.encode_tokens(components, inputs.tokens) if trains_text_encoder else inputs.states
            predicted = family.predict(components, inputs.noisy, inputs.timesteps, states)
            loss = F.mse_loss(predicted.float(), inputs.target)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def time_steps(step: Callable[[], None], n: int, accelerator: Accelerator) -> float:
    """Seconds for n steps."""
    started_s = _now_s(accelerator)
    for _ in range(n):
        step()
    return _now_s(accelerator) - started_s


def time_shares(job: TrainingJob, accelerator: Accelerator, folder: Path, steps: int) -> dict[str, float]:
    """Share of the loop's time by what it calls, from a profile of `steps` on a CPU (where calls do not overlap)."""
    profile = cProfile.Profile()
    profile.runcall(train, job, accelerator, folder, steps, lambda report: None)
    stats = pstats.Stats(profile).stats
    # The loop's function for a step: of those called once a step, the one that takes longest.
    total = max(
        row[3]
        for (path, _, name), row in stats.items()
        if path.endswith(LOOP_FILES[0]) and name not in BEFORE_FIRST_STEP and row[0] == steps
    )
    shares: dict[str, float] = {}
    for (path, _, name), (*_, callers) in stats.items():
        seconds = [
            row[3]
            for (file, _, caller), row in callers.items()
            if file.endswith(LOOP_FILES) and caller not in BEFORE_FIRST_STEP
        ]
        if seconds and not path.endswith(LOOP_FILES):
            label = f"{Path(path).stem}.{name}".removeprefix("~.")
            shares[label] = shares.get(label, 0.0) + sum(seconds) / total
    return shares


@dataclass(frozen=True)
class _ModelInputs:
    """The input of the model alone, all of it made before time is taken."""

    noisy: torch.Tensor
    target: torch.Tensor
    timesteps: torch.Tensor
    tokens: tuple[torch.Tensor, ...]
    states: Conditioning


@torch.no_grad()
def _model_inputs(components: ModelComponents, n: int, side_px: int) -> _ModelInputs:
    edge, generator = side_px // components.pixels_per_latent, torch.Generator().manual_seed(0)
    noisy, target = (
        torch.randn(n, components.latent_channels, edge, edge, generator=generator).to(components.device)
        for _ in range(2)
    )
    timesteps = torch.randint(1000, (n,), generator=generator).to(components.device)
    states, tokens = _encode(components, [PROMPT] * n)
    sizes = torch.tensor([[side_px, side_px, 0, 0, side_px, side_px]] * n, device=components.device)
    return _ModelInputs(noisy, target, timesteps, tokens, replace(states, sizes=sizes))


def _encode(components: ModelComponents, prompts: list[str]) -> tuple[Conditioning, tuple[torch.Tensor, ...]]:
    """Their states and tokens; text encoders that wait on the CPU beside a GPU are put back there."""
    devices = [next(encoder.parameters()).device for encoder in components.text_encoders]
    tokens = tokenise(components, prompts)
    for encoder in components.text_encoders:
        encoder.to(components.device)
    states = components.family.encode_tokens(components, tokens)
    for encoder, device in zip(components.text_encoders, devices):
        encoder.to(device)
    return states, tokens


def _now_s(accelerator: Accelerator) -> float:
    if accelerator.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
