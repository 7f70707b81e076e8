"""The scheduler table: a sampler's name, as people know it, gives one diffusers class with all its flags.

A checkpoint decides only what its weights were trained with: the betas and the prediction type. Everything else comes
from here, because a flag that is left out is filled with the class's own default, `save_pretrained` then writes that
default down, and the same weights sample differently before and after saving (Euler, DPM++ 2M and UniPC change their
timesteps that way). The flags were checked against k-diffusion and the CompVis loops on exact scores; names whose
diffusers mapping is known to be something else are refused.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import diffusers
from diffusers import SchedulerMixin

from pipeline.core.errors import ParamsError

TRAINED_WITH = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type")
GRID = {"timestep_spacing": "linspace", "steps_offset": 0, "clip_sample": False}  # where the class has the field
LEADING = {"timestep_spacing": "leading", "steps_offset": 1}
SCHEDULES = {"": {}, "Karras": {"use_karras_sigmas": True}, "Exponential": {"use_exponential_sigmas": True}}


@dataclass(frozen=True)
class Sampler:
    """One row: `name` and `schedule` as AUTOMATIC1111 (1.9 and later) prints them."""

    name: str
    class_name: str
    flags: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = ""
    calls_per_step: int = 1  # of the denoiser
    note: str = ""

    @property
    def label(self) -> str:
        """The key of the table: `DPM++ 2M Karras`."""
        return f"{self.name} {self.schedule}".strip()


def _rows(name: str, class_name: str, schedules: tuple[str, ...] = ("",), *, calls: int = 1, note: str = "", **flags):
    """One sampler with each of its sigma schedules; "" is the one that the betas give."""
    return [Sampler(name, class_name, {**flags, **SCHEDULES[kind]}, kind, calls, note) for kind in schedules]


PLAIN, KARRAS, EXPONENTIAL = SCHEDULES
SIGMA_MIN = {"final_sigmas_type": "sigma_min"}
SDE = {"algorithm_type": "sde-dpmsolver++"}
AVERAGES = "averages what the weights predict: with velocities instead of noise it is less exact"
A1111_GRID = "A1111 drops the penultimate sigma; this follows k-diffusion"

SAMPLERS: dict[str, Sampler] = {
    row.label: row
    for row in (
        *_rows("DDIM", "DDIMScheduler", set_alpha_to_one=False, **LEADING),
        *_rows("DDPM", "DDPMScheduler", **LEADING),
        *_rows("PLMS", "PNDMScheduler", skip_prk_steps=True, set_alpha_to_one=False, note=AVERAGES, **LEADING),
        *_rows("Euler", "EulerDiscreteScheduler", (PLAIN, KARRAS, EXPONENTIAL)),
        *_rows("Euler a", "EulerAncestralDiscreteScheduler"),
        *_rows("Heun", "HeunDiscreteScheduler", (PLAIN, KARRAS), calls=2),
        *_rows("LMS", "LMSDiscreteScheduler", (PLAIN, KARRAS)),
        *_rows("DPM2", "KDPM2DiscreteScheduler", (PLAIN, KARRAS), calls=2, note=A1111_GRID),
        *_rows("DPM2 a", "KDPM2AncestralDiscreteScheduler", (PLAIN, KARRAS), calls=2, note=A1111_GRID),
        # on the plain grid the class's default last sigma (zero) is 12 % off
        *_rows("DPM++ 2M", "DPMSolverMultistepScheduler", **SIGMA_MIN),
        *_rows("DPM++ 2M", "DPMSolverMultistepScheduler", (KARRAS, EXPONENTIAL)),
        *_rows("DPM++ 2M SDE", "DPMSolverMultistepScheduler", (KARRAS, EXPONENTIAL), **SDE),
        *_rows("DPM++ 2M SDE Heun", "DPMSolverMultistepScheduler", (KARRAS, EXPONENTIAL), solver_type="heun", **SDE),
        # bh1 with the class's default last sigma gives NaN
        *_rows("UniPC", "UniPCMultistepScheduler", solver_type="bh1", solver_order=3, **SIGMA_MIN),
    )
}

_NO_CLASS = "diffusers has no scheduler that draws the same pictures"
REFUSED: dict[str, str] = {
    "DPM++ SDE": "the class that diffusers documents for it is another sampler, and the right one needs torchsde",
    "DPM++ 2S a": f"{_NO_CLASS} (its noise is missing from the single-step solver)",
    "DPM++ 3M SDE": f"{_NO_CLASS} (7 to 40 % away)",
    "Euler a Karras": "the ancestral Euler class ignores Karras sigmas",
    "Euler a Exponential": "the ancestral Euler class ignores exponential sigmas",
    "DPM fast": _NO_CLASS,
    "DPM adaptive": _NO_CLASS,
    "Restart": _NO_CLASS,
    "LCM": "it needs weights distilled for it, and its timesteps differ from A1111's",
}


def find(name: str) -> Sampler:
    """The row of a sampler.

    Raises
    ------
    ParamsError
        When the name is refused (with the reason) or unknown (with the nearest known one).
    """
    if name in SAMPLERS:
        return SAMPLERS[name]
    reason = REFUSED.get(name) or REFUSED.get(name.removesuffix(" Karras").removesuffix(" Exponential"))
    if reason:
        raise ParamsError(f"the sampler {name!r} is refused: {reason}; known are {', '.join(SAMPLERS)}")
    raise ParamsError(f"unknown sampler {name!r}; {_nearest(name)}")


def build(name: str, checkpoint: Mapping[str, Any]) -> SchedulerMixin:
    """A fresh scheduler for weights trained with `checkpoint` (a scheduler's config).

    Raises
    ------
    ParamsError
        When the sampler is refused or unknown, or cannot sample weights with zero terminal SNR.
    """
    row = find(name)
    kind = getattr(diffusers, row.class_name)
    known = inspect.signature(kind.__init__).parameters
    trained = {key: checkpoint[key] for key in TRAINED_WITH if checkpoint.get(key) is not None}
    flags = {**GRID, **row.flags, **_zero_snr(row, checkpoint, known)}
    return kind(**{key: value for key, value in flags.items() if key in known}, **trained)


def _zero_snr(row: Sampler, checkpoint: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Weights whose last timestep is pure noise must be sampled from it (Lin et al. 2024), so the grid ends there."""
    if not checkpoint.get("rescale_betas_zero_snr"):
        return {}
    if "rescale_betas_zero_snr" not in known:
        raise ParamsError(f"the sampler {row.label!r} cannot start from pure noise, as these weights must; use 'DDIM'")
    ends_early = row.flags.get("timestep_spacing") == "leading"
    return {"rescale_betas_zero_snr": True, **({"timestep_spacing": "trailing"} if ends_early else {})}


def _nearest(name: str) -> str:
    by_folded = {label.casefold(): label for label in SAMPLERS}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.4)
    return f"did you mean {by_folded[near[0]]!r}?" if near else f"known are {', '.join(SAMPLERS)}"
