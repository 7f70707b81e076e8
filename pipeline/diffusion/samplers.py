"""The sampler table: a sampler's name, as people know it, gives one diffusers scheduler class with all its flags.

A checkpoint decides only what its weights were trained with: the betas and the prediction type. Everything else comes
from here, because a flag that is left out is filled with the class's own default, `save_pretrained` then writes that
default down, and the same weights sample differently before and after saving (Euler, DPM++ 2M and UniPC change their
timesteps that way). The flags were checked against k-diffusion and the CompVis loops on exact scores; names whose
diffusers mapping is known to be something else are refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pipeline.core.errors import ParamsError
from pipeline.core.registry import lookup

if TYPE_CHECKING:  # params are checked against the table without diffusers
    from diffusers import SchedulerMixin

Flags = Mapping[str, Any]
Schedule = Literal["", "Karras", "Exponential"]  # of the sigmas; "" is the one that the betas give

TRAINED_WITH = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type")
GRID: Flags = {"timestep_spacing": "linspace", "steps_offset": 0, "clip_sample": False}  # where the class has the field
SCHEDULES: Mapping[Schedule, Flags] = {
    "": {},
    "Karras": {"use_karras_sigmas": True},
    "Exponential": {"use_exponential_sigmas": True},
}


@dataclass(frozen=True)
class Sampler:
    """A sampler with one sigma schedule; `name` and `schedule` as AUTOMATIC1111 (1.9 and later) prints them."""

    name: str
    class_name: str
    flags: Flags
    schedule: Schedule
    calls_per_step: int  # of the denoiser
    note: str

    @property
    def label(self) -> str:
        """Its key in `SAMPLERS`: `DPM++ 2M Karras`."""
        return f"{self.name} {self.schedule}".strip()


@dataclass(frozen=True)
class SamplerRow:
    """One row of the table: a scheduler class of diffusers with its flags, under each of `schedules`."""

    name: str
    class_name: str
    flags: Flags = field(default_factory=dict)
    schedules: tuple[Schedule, ...] = ("",)
    calls_per_step: int = 1
    note: str = ""

    @property
    def samplers(self) -> tuple[Sampler, ...]:
        return tuple(
            Sampler(self.name, self.class_name, {**self.flags, **SCHEDULES[each]}, each, self.calls_per_step, self.note)
            for each in self.schedules
        )


LEADING: Flags = {"timestep_spacing": "leading", "steps_offset": 1}
SIGMA_MIN: Flags = {"final_sigmas_type": "sigma_min"}
SDE: Flags = {"algorithm_type": "sde-dpmsolver++"}
AVERAGES = "averages what the weights predict: with velocities instead of noise it is less exact"
A1111_GRID = "A1111 drops the penultimate sigma; this follows k-diffusion"

# A new sampler is one row here.
ROWS = (
    SamplerRow("DDIM", "DDIMScheduler", {"set_alpha_to_one": False, **LEADING}),
    SamplerRow("DDPM", "DDPMScheduler", LEADING),
    SamplerRow("PLMS", "PNDMScheduler", {"skip_prk_steps": True, "set_alpha_to_one": False, **LEADING}, note=AVERAGES),
    SamplerRow("Euler", "EulerDiscreteScheduler", schedules=("", "Karras", "Exponential")),
    SamplerRow("Euler a", "EulerAncestralDiscreteScheduler"),
    SamplerRow("Heun", "HeunDiscreteScheduler", schedules=("", "Karras"), calls_per_step=2),
    SamplerRow("LMS", "LMSDiscreteScheduler", schedules=("", "Karras")),
    SamplerRow("DPM2", "KDPM2DiscreteScheduler", schedules=("", "Karras"), calls_per_step=2, note=A1111_GRID),
    SamplerRow("DPM2 a", "KDPM2AncestralDiscreteScheduler", {}, ("", "Karras"), calls_per_step=2, note=A1111_GRID),
    # on the plain grid the class's default last sigma (zero) is 12 % off
    SamplerRow("DPM++ 2M", "DPMSolverMultistepScheduler", SIGMA_MIN),
    SamplerRow("DPM++ 2M", "DPMSolverMultistepScheduler", schedules=("Karras", "Exponential")),
    SamplerRow("DPM++ 2M SDE", "DPMSolverMultistepScheduler", SDE, ("Karras", "Exponential")),
    SamplerRow(
        "DPM++ 2M SDE Heun", "DPMSolverMultistepScheduler", {"solver_type": "heun", **SDE}, ("Karras", "Exponential")
    ),
    # bh1 with the class's default last sigma gives NaN
    SamplerRow("UniPC", "UniPCMultistepScheduler", {"solver_type": "bh1", "solver_order": 3, **SIGMA_MIN}),
)
SAMPLERS: dict[str, Sampler] = {sampler.label: sampler for row in ROWS for sampler in row.samplers}

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
    """The sampler of this name.

    Raises
    ------
    ParamsError
        When the name is refused (with the reason) or unknown (with the nearest known one).
    """
    reason = REFUSED.get(name) or REFUSED.get(name.removesuffix(" Karras").removesuffix(" Exponential"))
    if reason and name not in SAMPLERS:
        raise ParamsError(f"the sampler {name!r} is refused: {reason}; known are {', '.join(SAMPLERS)}")
    return lookup("the sampler", name, SAMPLERS)


def build(name: str, checkpoint: Mapping[str, Any]) -> SchedulerMixin:
    """A fresh scheduler for weights trained with `checkpoint` (a scheduler's config).

    Raises
    ------
    ParamsError
        When the sampler is refused or unknown, or cannot sample weights with zero terminal SNR.
    """
    import diffusers

    sampler = find(name)
    scheduler_class = getattr(diffusers, sampler.class_name)
    known = inspect.signature(scheduler_class.__init__).parameters
    trained = {key: checkpoint[key] for key in TRAINED_WITH if checkpoint.get(key) is not None}
    flags = {**GRID, **sampler.flags, **_zero_snr(sampler, checkpoint, known)}
    return scheduler_class(**{key: value for key, value in flags.items() if key in known}, **trained)


def _zero_snr(sampler: Sampler, checkpoint: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Weights whose last timestep is pure noise must be sampled from it (Lin et al. 2024), so the grid ends there."""
    if not checkpoint.get("rescale_betas_zero_snr"):
        return {}
    if "rescale_betas_zero_snr" not in known:
        raise ParamsError(
            f"the sampler {sampler.label!r} cannot start from pure noise, as these weights must; use 'DDIM'"
        )
    ends_early = sampler.flags.get("timestep_spacing") == "leading"
    return {"rescale_betas_zero_snr": True, **({"timestep_spacing": "trailing"} if ends_early else {})}
