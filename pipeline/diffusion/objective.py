"""The forward process and the training target: noise or velocity (Ho et al. 2020; Salimans and Ho 2022).

    x_t = a_t x + s_t e        a_t^2 + s_t^2 = 1        v = a_t e - s_t x        SNR(t) = a_t^2 / s_t^2

`x` are clean latents, `e` is noise of deviation one; x_0 below is the estimate of x from x_t and a prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from pipeline.core.errors import InputError, ParamsError

PREDICTION_TYPES = ("epsilon", "v_prediction")


@dataclass(frozen=True)
class Objective:
    """`alphas_cumprod` (T,) is a_t^2; the prediction type is the weights' own."""

    alphas_cumprod: torch.Tensor
    prediction_type: str

    @property
    def n_timesteps(self) -> int:
        return len(self.alphas_cumprod)

    def coefficients(self, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """a_t and s_t for timesteps (n,), each (n, 1, 1, 1)."""
        squared = self.alphas_cumprod.to(t.device)[t].view(-1, 1, 1, 1)
        return squared.sqrt(), (1 - squared).sqrt()

    def to(self, device: torch.device) -> Objective:
        """The same with its tensor on this device, where every step reads it."""
        return replace(self, alphas_cumprod=self.alphas_cumprod.to(device))

    def min_snr_weights(self, t: torch.Tensor, gamma: float) -> torch.Tensor:
        """(n,): how much the error of each timestep counts (Hang et al. 2023, section 3.4).

        min(SNR, g) / SNR for noise and min(SNR, g) / (SNR + 1) for velocity: both weigh the error of x by min(SNR, g).
        At SNR 0 the first is 1, its limit, and the second 0: x cannot be estimated there.
        """
        squared = self.alphas_cumprod.to(t.device)[t]
        snr = squared / (1 - squared)
        if self.prediction_type == "epsilon":
            return (gamma / snr).clamp(max=1)
        return snr.clamp(max=gamma) / (snr + 1)

    def zero_terminal_snr(self) -> Objective:
        """The same with a_T = 0: a_t is shifted and stretched, and a_1 stays (Lin et al. 2024, algorithm 1).

        Raises
        ------
        ParamsError
            When the model predicts noise: at pure noise that says nothing about the picture.
        """
        if self.prediction_type == "epsilon":
            raise ParamsError(
                "train.loss.zero_terminal_snr is for weights that predict velocity, and this base predicts noise, "
                "which at the last timestep says nothing about the picture; set it to false or take another base"
            )
        a = self.alphas_cumprod.double().sqrt()
        stretched = (a - a[-1]) * a[0] / (a[0] - a[-1])
        return replace(self, alphas_cumprod=stretched.square().to(self.alphas_cumprod.dtype))

    def add_noise(self, x: torch.Tensor, e: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """x_t (n, c, h, w)."""
        a, s = self.coefficients(t)
        return a * x + s * e

    def target(self, x: torch.Tensor, e: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """What the model should predict at x_t: e or v."""
        if self.prediction_type == "epsilon":
            return e
        a, s = self.coefficients(t)
        return a * e - s * x

    def clean_and_noise(
        self, x_t: torch.Tensor, prediction: torch.Tensor, t: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The estimates of x_0 and e that follow from a prediction at x_t."""
        a, s = self.coefficients(t)
        if self.prediction_type == "epsilon":
            return (x_t - s * prediction) / a, prediction
        return a * x_t - s * prediction, s * x_t + a * prediction


def from_config(config: Mapping[str, Any]) -> Objective:
    """Read betas and prediction type from a scheduler's config (any diffusers class).

    Raises
    ------
    InputError
        When the weights predict something else than noise or velocity.
    """
    from diffusers import DDPMScheduler

    kind = config.get("prediction_type", "epsilon")
    if kind not in PREDICTION_TYPES:
        raise InputError(f"the base model predicts {kind!r}; training supports {' and '.join(PREDICTION_TYPES)}")
    return Objective(DDPMScheduler.from_config(dict(config)).alphas_cumprod, kind)


@torch.no_grad()
def ddim(
    objective: Objective, x_T: torch.Tensor, n_steps: int, predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Noise (n, c, h, w) -> latents, deterministically (Song et al. 2021); `predict(x_t, t)` with t (n,)."""
    x_t, times = x_T, torch.linspace(objective.n_timesteps - 1, 0, n_steps + 1).round().long()
    for now, later in zip(times[:-1], times[1:], strict=True):
        t, t_later = (time.expand(len(x_t)).to(x_t.device) for time in (now, later))
        x_0, e = objective.clean_and_noise(x_t, predict(x_t, t), t)
        x_t = objective.add_noise(x_0, e, t_later)
    return x_t
