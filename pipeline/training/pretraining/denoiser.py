"""The denoiser and its text encoder: a UNet2DConditionModel that predicts v (Salimans and Ho 2022) in latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pipeline.training.pretraining import clip as clip_phase
from pipeline.training.pretraining import progress
from pipeline.training.pretraining.drawings import DrawingSet, batch_at, generator_at, made_up_name, pick, sentence
from pipeline.training.pretraining.settings import DenoiserSettings, Phase, TextSettings

Saved = Callable[[progress.Optimisation], None]  # told after each save
STYLES = {"full": 0.55, "parts": 0.1, "medium": 0.08, "place": 0.1, "noun": 0.05, "name": 0.12}


def scheduler() -> DDIMScheduler:
    """The noise of Stable Diffusion; the weights know these betas and no others."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )


def build_unet(
    settings: DenoiserSettings, text: TextSettings, latents_shape: torch.Size, seed: int
) -> UNet2DConditionModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _, channels, _, edge = latents_shape
        kinds = ["CrossAttn" if reads else "" for reads in settings.attention]
        return UNet2DConditionModel(
            sample_size=edge,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=settings.channels,
            layers_per_block=1,
            down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
            up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
            cross_attention_dim=text.width,
            # diffusers reads this as the number of heads.
            attention_head_dim=settings.heads,
            norm_num_groups=settings.norm_groups,
        )


def build_text_encoder(clip: CLIPModel, text: TextSettings, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Starts as CLIP's own text tower, which already knows what the words look like."""
    encoder = CLIPTextModel(CLIPTextConfig(**clip_phase.text_config(text, tokenizer)))
    encoder.load_state_dict(clip.text_model.state_dict())
    return encoder.requires_grad_(True)


@dataclass(frozen=True)
class Lessons:
    """What the denoiser learns from: `latents` are the drawings' and their mirror images', each (n, c, h, w)."""

    latents: tuple[torch.Tensor, torch.Tensor]
    drawings: DrawingSet
    tokenizer: CLIPTokenizer
    settings: DenoiserSettings
    seed: int
    alphas: torch.Tensor = field(default_factory=lambda: scheduler().alphas_cumprod)

    @property
    def turned(self) -> torch.Tensor:
        """(n,) bool: which drawings must be mirrored to look to the right."""
        return torch.tensor([words.looks_left for words in self.drawings.words])

    def losses(
        self, modules: nn.ModuleDict, rows: list[int], mirrored: torch.Tensor, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """Of a batch of these rows, some of them (b,) bool mirrored."""
        clean = torch.where(mirrored.view(-1, 1, 1, 1), self.latents[1][rows], self.latents[0][rows])
        sentences = self.sentences(rows, generator)
        unet, encoder, limit = modules["unet"], modules["text_encoder"], self.settings.snr_limit
        return losses(unet, encoder, self.tokenizer, clean, sentences, self.alphas, generator, limit)

    def sentences(self, rows: list[int], generator: torch.Generator) -> list[str]:
        """One for each row; some are empty, for guidance without a classifier."""
        silent = (torch.rand(len(rows), generator=generator) < self.settings.empty_prompt_share).tolist()
        words = [self.drawings.words[row] for row in rows]
        said = [sentence(each, pick(STYLES, generator), generator, made_up_name(generator)) for each in words]
        return ["" if quiet else text for quiet, text in zip(silent, said, strict=True)]


def train(
    lessons: Lessons, clip: CLIPModel, text: TextSettings, state_file: Path, report: progress.Report, saved: Saved
) -> progress.Optimisation:
    """Both headings as often. Modules: "unet" and "text_encoder"."""
    settings, seed, tokenizer = lessons.settings, lessons.seed, lessons.tokenizer
    unet = build_unet(settings, text, lessons.latents[0].shape, seed)
    modules = nn.ModuleDict({"unet": unet, "text_encoder": build_text_encoder(clip, text, tokenizer)})
    work = progress.Optimisation("denoiser", modules, settings.phase, settings.ema_decay)

    def losses_at(step: int) -> dict[str, torch.Tensor]:
        generator = generator_at(seed, "denoiser", step)
        rows = batch_at(len(lessons.drawings), settings.phase.batch, generator)
        mirrored = torch.rand(len(rows), generator=generator) < 0.5
        return lessons.losses(modules, rows, mirrored, generator)

    return progress.run(work, losses_at, state_file, report, saved)


def finish(
    lessons: Lessons,
    trained: progress.Optimisation,
    phase: Phase,
    state_file: Path,
    report: progress.Report,
    saved: Saved,
) -> progress.Optimisation:
    """Goes on from the averaged weights of `trained`, with every animal turned to the right."""
    progress.use_average(trained)
    work = progress.Optimisation("finish", trained.modules, phase, lessons.settings.ema_decay)
    turned = lessons.turned

    def losses_at(step: int) -> dict[str, torch.Tensor]:
        generator = generator_at(lessons.seed, "finish", step)
        rows = batch_at(len(lessons.drawings), phase.batch, generator)
        return lessons.losses(work.modules, rows, turned[rows], generator)

    return progress.run(work, losses_at, state_file, report, saved)


def losses(
    unet: UNet2DConditionModel,
    encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    clean: torch.Tensor,
    sentences: list[str],
    alphas: torch.Tensor,
    generator: torch.Generator,
    snr_limit: float = float("inf"),
) -> dict[str, torch.Tensor]:
    """x_t = a x + s e,  v = a e - s x,  loss = |v' - v|^2.

    An error of v counts as SNR + 1 errors of x; that number is limited, as in Min-SNR (Hang et al. 2023), so that
    nearly noiseless steps do not take the network for themselves.
    """
    t = torch.randint(len(alphas), (len(clean),), generator=generator)
    e = torch.randn(clean.shape, generator=generator)
    a, s = (value.view(-1, 1, 1, 1) for value in (alphas[t].sqrt(), (1 - alphas[t]).sqrt()))
    states = encoder(tokenise(tokenizer, sentences)).last_hidden_state
    v = unet(a * clean + s * e, t, states).sample
    errors = (v - (a * e - s * clean)).square().mean(dim=(1, 2, 3))
    weights = ((snr_limit + 1) * (1 - alphas[t])).clamp(max=1.0)  # (limit + 1) / (SNR + 1), at most 1
    return {"loss": (weights * errors).mean()}


def tokenise(tokenizer: CLIPTokenizer, sentences: list[str]) -> torch.Tensor:
    """(n, context) ids, padded like the pipeline pads them, without a mask."""
    return tokenizer(sentences, padding="max_length", truncation=True, return_tensors="pt").input_ids


@torch.no_grad()
def held_out_loss(
    unet: UNet2DConditionModel,
    encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    latents: torch.Tensor,
    drawings: DrawingSet,
    seed: int,
) -> float:
    """With full captions, and the same noise at every call."""
    sentences = [words.caption for words in drawings.words]
    generator = generator_at(seed, "denoiser-held-out", 0)
    return float(losses(unet, encoder, tokenizer, latents, sentences, scheduler().alphas_cumprod, generator)["loss"])
