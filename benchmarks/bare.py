"""The loop beside the same model without a loop: forward, backward and optimiser on tensors that lie ready.

Both train in one process, on two copies of the model. After every few steps the loop reports, and is kept there while
the bare model takes as many; so both see the same threads, caches and neighbours.
"""

from __future__ import annotations

import cProfile
import pstats
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator

from benchmarks import child, jobs
from benchmarks.claims import Claim
from benchmarks.jobs import Setting
from benchmarks.turns import ENDLESS, Effort
from pipeline.core.records import StepReport
from pipeline.families.model_components import Conditioning, ModelComponents, tokenise
from pipeline.methods import method
from pipeline.training.checkpoint.state import CheckpointStore
from pipeline.training.loop import Hooks, TrainingJob, run

CONTEXT = "a painting of a bird"
TELLING = 0.5  # percent of a step; what is less is not listed
BEFORE = ("run", "__init__", "resume")  # the first step
IN_LOOP = ("training/loop.py", "training/lesson.py")


@dataclass(frozen=True)
class Beside:
    """Seconds a step, medians over rounds, and the median of the rounds' own ratios."""

    loop_seconds: float
    bare_seconds: float
    speed: float  # of the loop, where the bare model's is 1


def measure(setting: Setting, name: str, folder: Path, device: str, precision: str, effort: Effort) -> list[Claim]:
    """On a CPU also where the time of a step goes."""
    found = child.ask("bare", setting, folder, device, precision, rounds=effort.rounds, size=effort.size)
    what = f"{name}: speed of the loop, of the bare model's"
    where = {kind: 100 * share for kind, share in found["where"].items() if 100 * share >= TELLING}
    return [
        Claim(what, found["speed"], "x", at_least=0.95),
        Claim(f"{name}: a step of the loop", found["loop_seconds"], "s"),
        Claim(f"{name}: a step of the bare model", found["bare_seconds"], "s"),
        *(Claim(f"{name}: `{kind}`, of a step", percent, "%") for kind, percent in where.items()),
    ]


def answer(setting: Setting, accelerator: Accelerator, folder: Path, rounds: int, size: int) -> dict:
    """`Beside` and, on a CPU, whereabouts."""
    looped, alone = (prepared(setting, accelerator, folder) for _ in range(2))
    found = beside(looped, bare_step(alone, setting, accelerator), accelerator, folder, rounds, size)
    cpu = accelerator.device.type == "cpu"
    again = prepared(setting, accelerator, folder) if cpu else None
    where = whereabouts(again, accelerator, folder, rounds * size // 2) if again else {}
    return asdict(found) | {"where": where}


def beside(
    job: TrainingJob, step: Callable[[], None], accelerator: Accelerator, folder: Path, rounds: int, size: int
) -> Beside:
    """`rounds` of `size` steps each, after one round that does not count; `step` is the bare model's."""
    loop, bare = [], []
    resumed = time.perf_counter()

    def report(told: StepReport) -> None:
        nonlocal resumed
        if told.step % size == 0:
            loop.append((_now(accelerator) - resumed) / size)
            bare.append(timed(step, size, accelerator) / size)
            resumed = _now(accelerator)

    train(job, accelerator, folder, (rounds + 1) * size, report)
    ratios = [without / within for within, without in zip(loop[1:], bare[1:])]
    return Beside(statistics.median(loop[1:]), statistics.median(bare[1:]), statistics.median(ratios))


def train(
    job: TrainingJob, accelerator: Accelerator, folder: Path, steps: int, report: Callable[[StepReport], None]
) -> None:
    """The project's loop from its first step, without saving."""
    plan = replace(job.settings, steps=steps, snapshots=(), save_every_steps=steps + 1)
    hooks = Hooks(report=report, say=print, stopping=lambda: False, clock=time.perf_counter)
    run(replace(job, plan=plan, look=lambda step: None), accelerator, CheckpointStore(folder, "benchmark"), hooks)


def prepared(setting: Setting, accelerator: Accelerator, folder: Path) -> TrainingJob:
    """A job with more steps than will be taken."""
    endless = replace(setting, changes=setting.changes | {"steps": ENDLESS})
    return jobs.job(endless, accelerator, folder / "cache")


def bare_step(job: TrainingJob, setting: Setting, accelerator: Accelerator) -> Callable[[], None]:
    """One step of the model alone: its text encoder is part of it where that learns, or else its states are ready."""
    parts, learns_text = job.trainable.components, method(setting.train.method).trains_text_encoder(setting.train)
    if accelerator.device.type == "cuda":
        parts.unet.to(memory_format=torch.channels_last)  # as the loop has it
    optimiser = job.optimiser(job.trainable)
    ready = _ready(parts, job.settings.batch_size, setting.side_px)
    kind = parts.family

    def step() -> None:
        with accelerator.autocast():
            context = kind.encode_tokens(parts, ready.tokens) if learns_text else ready.states
            predicted = kind.predict(parts, ready.noisy, ready.timesteps, context)
            loss = F.mse_loss(predicted.float(), ready.target)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def timed(step: Callable[[], None], n: int, accelerator: Accelerator) -> float:
    """Seconds for n steps."""
    begun = _now(accelerator)
    for _ in range(n):
        step()
    return _now(accelerator) - begun


def whereabouts(job: TrainingJob, accelerator: Accelerator, folder: Path, steps: int) -> dict[str, float]:
    """Share of the loop's time by what it calls, from a profile of `steps` on a CPU (where calls do not overlap)."""
    profile = cProfile.Profile()
    profile.runcall(train, job, accelerator, folder, steps, lambda told: None)
    stats = pstats.Stats(profile).stats
    total = next(row[3] for (path, _, name), row in stats.items() if name == "take" and path.endswith(IN_LOOP[0]))
    found: dict[str, float] = {}
    for (path, _, name), (*_, callers) in stats.items():
        calls = [
            row[3] for (file, _, caller), row in callers.items() if file.endswith(IN_LOOP) and caller not in BEFORE
        ]
        if calls and not path.endswith(IN_LOOP):
            label = f"{Path(path).stem}.{name}".removeprefix("~.")
            found[label] = found.get(label, 0.0) + sum(calls) / total
    return found


@dataclass(frozen=True)
class _Ready:
    """What the bare model is fed; nothing of it is made while time is taken."""

    noisy: torch.Tensor
    target: torch.Tensor
    timesteps: torch.Tensor
    tokens: tuple[torch.Tensor, ...]
    states: Conditioning


@torch.no_grad()
def _ready(parts: ModelComponents, n: int, side_px: int) -> _Ready:
    edge, generator = side_px // parts.pixels_per_latent, torch.Generator().manual_seed(0)
    noisy, target = (
        torch.randn(n, parts.latent_channels, edge, edge, generator=generator).to(parts.device) for _ in range(2)
    )
    timesteps = torch.randint(1000, (n,), generator=generator).to(parts.device)
    states, tokens = _read(parts, [CONTEXT] * n)
    sizes = torch.tensor([[side_px, side_px, 0, 0, side_px, side_px]] * n, device=parts.device)
    return _Ready(noisy, target, timesteps, tokens, replace(states, sizes=sizes))


def _read(parts: ModelComponents, prompts: list[str]) -> tuple[Conditioning, tuple[torch.Tensor, ...]]:
    """Their states and tokens; text encoders that rest on the CPU beside a GPU do so again afterwards."""
    homes = [next(encoder.parameters()).device for encoder in parts.text_encoders]
    tokens = tokenise(parts, prompts)
    for encoder in parts.text_encoders:
        encoder.to(parts.device)
    states = parts.family.encode_tokens(parts, tokens)
    for encoder, home in zip(parts.text_encoders, homes):
        encoder.to(home)
    return states, tokens


def _now(accelerator: Accelerator) -> float:
    if accelerator.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
