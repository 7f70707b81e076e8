"""The denoiser and its text encoder: a UNet2DConditionModel that predicts v (Salimans and Ho 2022) in latents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pipeline.families import family
from pipeline.families.model_components import ModelComponents
from pipeline.methods import full_fine_tune
from pipeline.methods.tensor_files import write_tensors
from pipeline.methods.trainable import Trainable
from pipeline.pretraining.captions import caption_in_style, made_up_name, random_key
from pipeline.pretraining.clip import text_config
from pipeline.pretraining.drawings import DrawingSet, generator_at, random_rows
from pipeline.pretraining.optimisation import learning_rate_at
from pipeline.pretraining.settings import DenoiserSettings, Phase, TextSettings
from pipeline.training.checkpoint.state import CheckpointStore
from pipeline.training.loop import Hooks, LoopSettings, TrainingJob, train_to_end

StepLoss = Callable[[ModelComponents, int, Sequence[int]], torch.Tensor]  # components, step, slots -> loss
STYLES = {"full": 0.55, "parts": 0.1, "medium": 0.08, "place": 0.1, "noun": 0.05, "name": 0.12}
LOSSES = "losses"  # beside the weights, in the file of a finished phase
INTERMEDIATE_EVERY_STEPS = 500


def scheduler() -> DDIMScheduler:
    """The noise of Stable Diffusion; the weights are trained for these betas and no others."""
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
    """Initialised with CLIP's own text tower, which is trained to relate words to pictures."""
    encoder = CLIPTextModel(CLIPTextConfig(**text_config(text, tokenizer)))
    encoder.load_state_dict(clip.text_model.state_dict())
    return encoder.requires_grad_(True)


@dataclass(frozen=True)
class TrainingExamples:
    """What the denoiser is trained on: `latents` are the drawings' and their mirror images', each (n, c, h, w)."""

    latents: tuple[torch.Tensor, torch.Tensor]
    drawings: DrawingSet
    tokenizer: CLIPTokenizer
    settings: DenoiserSettings
    seed: int
    alphas: torch.Tensor = field(default_factory=lambda: scheduler().alphas_cumprod)

    def loss_with_both_headings(self, components: ModelComponents, step: int, slots: Sequence[int]) -> torch.Tensor:
        """The loss of a step; half of the animals are turned to the left."""
        generator = generator_at(self.seed, "denoiser", step)
        rows = random_rows(len(self.drawings), len(slots), generator)
        mirrored = torch.rand(len(rows), generator=generator) < 0.5
        return self._loss(components, rows, mirrored, generator)

    def loss_with_one_heading(self, components: ModelComponents, step: int, slots: Sequence[int]) -> torch.Tensor:
        """The same with every animal turned to the right."""
        generator = generator_at(self.seed, "finish", step)
        rows = random_rows(len(self.drawings), len(slots), generator)
        turned = torch.tensor([self.drawings.descriptions[row].looks_left for row in rows])
        return self._loss(components, rows, turned, generator)

    def _loss(
        self, components: ModelComponents, rows: list[int], mirrored: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Of a batch of these rows, some of them (b,) bool mirrored."""
        clean = torch.where(mirrored.view(-1, 1, 1, 1), self.latents[1][rows], self.latents[0][rows])
        captions = self._captions(rows, generator)
        unet, (encoder,), limit = components.unet, components.text_encoders, self.settings.snr_limit
        return loss(unet, encoder, self.tokenizer, clean, captions, self.alphas, generator, limit)

    def _captions(self, rows: list[int], generator: torch.Generator) -> list[str]:
        """One for each row; some are empty, for classifier-free guidance."""
        is_empty = (torch.rand(len(rows), generator=generator) < self.settings.empty_prompt_share).tolist()
        captions = [
            caption_in_style(
                self.drawings.descriptions[row], random_key(STYLES, generator), generator, made_up_name(generator)
            )
            for row in rows
        ]
        return ["" if empty else caption for empty, caption in zip(is_empty, captions, strict=True)]


@dataclass(frozen=True)
class Denoiser:
    """A model in training: `components` has the averaged weights, `losses` those of every step, at the phase's end."""

    components: ModelComponents
    phase: Phase
    step: int
    losses: tuple[float, ...] = ()


@dataclass(frozen=True)
class PhaseRun:
    """Where a phase keeps its state, the loop's callbacks, and one for the unfinished model now and then."""

    folder: Path
    hooks: Hooks
    on_intermediate: Callable[[Denoiser], None]


def build(examples: TrainingExamples, clip: CLIPModel, vae: AutoencoderKL, text: TextSettings) -> ModelComponents:
    """The model before its first step."""
    return ModelComponents(
        family=family("sd"),
        folder=Path(),
        unet=build_unet(examples.settings, text, examples.latents[0].shape, examples.seed),
        vae=vae,
        text_encoders=(build_text_encoder(clip, text, examples.tokenizer),),
        tokenizers=(examples.tokenizer,),
        scheduler=dict(scheduler().config),
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def train_phase(
    components: ModelComponents, step_loss: StepLoss, phase: Phase, ema_decay: float, run: PhaseRun
) -> Denoiser:
    """Take the steps of a phase that are left; afterwards `components` has the averaged weights."""
    trainable = full_fine_tune.every_weight(components, components.by_folder)
    finished = run.folder / "finished.safetensors"
    if not finished.is_file():
        job = _job(trainable, step_loss, phase, ema_decay, run)
        state = train_to_end(job, Accelerator(cpu=True), CheckpointStore(run.folder, run.folder.name), run.hooks)
        with state.ema_applied():
            losses = torch.tensor([row[0] for row in state.history], dtype=torch.float64)
            write_tensors(finished, {**trainable.parameters, LOSSES: losses}, {})
    tensors = load_file(finished)
    with torch.no_grad():
        for name, weight in trainable.parameters.items():
            weight.copy_(tensors[name])
    return Denoiser(components, phase, phase.steps, tuple(tensors[LOSSES].tolist()))


def _job(trainable: Trainable, step_loss: StepLoss, phase: Phase, ema_decay: float, run: PhaseRun) -> TrainingJob:
    settings = LoopSettings(
        steps=phase.steps,
        batch_size=phase.batch,
        snapshots=tuple(range(INTERMEDIATE_EVERY_STEPS, phase.steps, INTERMEDIATE_EVERY_STEPS)),
        save_every_steps=phase.save_every,
        learning_rate=partial(learning_rate_at, phase),
        max_gradient_norm=1.0,
        ema_decay=ema_decay,
    )

    def optimiser(trainable: Trainable) -> torch.optim.Optimizer:
        groups = trainable.optimiser_groups(phase.weight_decay)
        return torch.optim.AdamW(groups, lr=phase.peak_rate, betas=(0.9, 0.99), foreach=True)

    def on_snapshot(_folder: Path, step: int) -> None:
        run.on_intermediate(Denoiser(trainable.components, phase, step))

    return TrainingJob(trainable, step_loss, optimiser, settings, write_snapshot=on_snapshot)


def loss(
    unet: UNet2DConditionModel,
    encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    clean: torch.Tensor,
    captions: list[str],
    alphas: torch.Tensor,
    generator: torch.Generator,
    snr_limit: float = float("inf"),
) -> torch.Tensor:
    """x_t = a x + s e,  v = a e - s x,  loss = |v' - v|^2.

    An error of v counts as SNR + 1 errors of x; that number is limited, as in Min-SNR (Hang et al. 2023), so that
    nearly noiseless steps do not dominate.
    """
    t = torch.randint(len(alphas), (len(clean),), generator=generator)
    e = torch.randn(clean.shape, generator=generator)
    a, s = (value.view(-1, 1, 1, 1) for value in (alphas[t].sqrt(), (1 - alphas[t]).sqrt()))
    states = encoder(tokenise(tokenizer, captions)).last_hidden_state
    v = unet(a * clean + s * e, t, states).sample
    errors = (v - (a * e - s * clean)).square().mean(dim=(1, 2, 3))
    weights = ((snr_limit + 1) * (1 - alphas[t])).clamp(max=1.0)  # (limit + 1) / (SNR + 1), at most 1
    return (weights * errors).mean()


def tokenise(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """(n, context) ids, padded like the pipeline pads them, without a mask."""
    return tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids


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
    captions = [each.caption for each in drawings.descriptions]
    generator = generator_at(seed, "denoiser-held-out", 0)
    return float(loss(unet, encoder, tokenizer, latents, captions, scheduler().alphas_cumprod, generator))
