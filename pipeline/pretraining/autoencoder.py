"""The autoencoder: a small AutoencoderKL (Rombach et al. 2022) with a loss that keeps edges sharp."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import nn

from pipeline.pretraining.drawings import DrawingSet, generator_at, random_flip, random_rows
from pipeline.pretraining.optimisation import OnProgress, Optimisation, optimise
from pipeline.pretraining.settings import AutoencoderSettings


def build(settings: AutoencoderSettings, image_px: int, seed: int) -> AutoencoderKL:
    """A new model, without attention: a drawing's strokes are local, and the denoiser attends to the whole."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        levels = len(settings.channels)
        vae = AutoencoderKL(
            block_out_channels=settings.channels,
            latent_channels=settings.latent_channels,
            layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            norm_num_groups=8,
            mid_block_add_attention=False,
            sample_size=image_px,
        )
    return initialise_low_variance(vae, settings)


@torch.no_grad()
def initialise_low_variance(vae: AutoencoderKL, settings: AutoencoderSettings) -> AutoencoderKL:
    """Begin with little noise in the latents.

    From the usual start, deviation one, half of the channels never rise above their noise and carry nothing.
    """
    vae.quant_conv.weight[settings.latent_channels :] = 0
    vae.quant_conv.bias[settings.latent_channels :] = settings.first_log_variance
    return vae


def train(
    drawings: DrawingSet, settings: AutoencoderSettings, seed: int, state_file: Path, on_progress: OnProgress
) -> tuple[AutoencoderKL, list[dict[str, float]]]:
    """The trained autoencoder, its latents scaled to unit deviation, and its losses."""
    vae = build(settings, drawings.images.shape[1], seed).to(memory_format=torch.channels_last)
    work = Optimisation("autoencoder", nn.ModuleDict({"vae": vae}), settings.phase)

    def losses_at(step: int) -> dict[str, torch.Tensor]:
        generator = generator_at(seed, "autoencoder", step)
        rows = random_rows(len(drawings), settings.phase.batch, generator)
        pixels = random_flip(drawings.pixels(rows), generator)
        return losses(vae, pixels * 2 - 1, settings.kl_weight, generator)

    optimise(work, losses_at, state_file, on_progress)
    vae = vae.to(memory_format=torch.contiguous_format).requires_grad_(False)
    vae.register_to_config(scaling_factor=1 / latent_deviation(vae, drawings[:1024]))
    return vae, work.losses


def losses(
    vae: AutoencoderKL, pixels: torch.Tensor, kl_weight: float, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Parts of the loss for pixels (n, 3, h, w) in -1..1; the term of differences keeps outlines sharp."""
    posterior = vae.encode(pixels).latent_dist
    drawn = vae.decode(posterior.sample(generator=generator)).sample
    squared, absolute = F.mse_loss(drawn, pixels), F.l1_loss(drawn, pixels)
    edges = F.l1_loss(drawn.diff(dim=-1), pixels.diff(dim=-1)) + F.l1_loss(drawn.diff(dim=-2), pixels.diff(dim=-2))
    divergence = posterior.kl().mean()
    return {"loss": squared + absolute + edges + kl_weight * divergence, "squared": squared}


@torch.no_grad()
def encode(vae: AutoencoderKL, drawings: DrawingSet, mirrored: bool = False, batch: int = 64) -> torch.Tensor:
    """n drawings -> scaled latents (n, c, h, w); the mode of the posterior, without its (tiny) noise."""
    batches = []
    for start in range(0, len(drawings), batch):
        pixels = drawings.pixels(range(start, min(start + batch, len(drawings)))) * 2 - 1
        batches.append(vae.encode(pixels.flip(-1) if mirrored else pixels).latent_dist.mode())
    return torch.cat(batches) * vae.config.scaling_factor


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Scaled latents (n, c, h, w) -> pixels (n, 3, height, width) in 0..1."""
    return (vae.decode(latents / vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)


def latent_deviation(vae: AutoencoderKL, drawings: DrawingSet) -> float:
    """Standard deviation of unscaled latents; the denoiser's noise has deviation one."""
    vae.register_to_config(scaling_factor=1.0)
    return float(encode(vae, drawings).std())


def peak_signal_to_noise_db(vae: AutoencoderKL, drawings: DrawingSet) -> float:
    """Mean over pictures of 10 log10(1 / mse), pixels in 0..1."""
    pixels = drawings.pixels(range(len(drawings)))
    errors = (decode(vae, encode(vae, drawings)) - pixels).square().mean(dim=(1, 2, 3))
    return float((-10 * errors.clamp_min(1e-10).log10()).mean())
