"""The components of a latent diffusion model: denoiser, autoencoder, text encoders, tokenizers, scheduler config."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import nn

from pipeline.core.errors import InputError
from pipeline.core.prompts import whole_name
from pipeline.core.weight_files import read_json
from pipeline.families.model_folder import check

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from transformers import CLIPTokenizer, PreTrainedModel

    from pipeline.families.family import Family


@dataclass(frozen=True)
class ModelComponents:
    """A loaded model. `scheduler` is the base's own scheduler config: betas and prediction type are read from it.

    `placeholder_tokens` has the names that new tokens stand for, and how prompts spell those: `<dodo> <dodo>_1`.
    """

    family: Family
    folder: Path
    unet: nn.Module
    vae: AutoencoderKL
    text_encoders: tuple[PreTrainedModel, ...]
    tokenizers: tuple[CLIPTokenizer, ...]
    scheduler: Mapping[str, Any]
    device: torch.device
    dtype: torch.dtype
    placeholder_tokens: Mapping[str, str] = field(default_factory=dict)

    @property
    def pixels_per_latent(self) -> int:
        """Edge of the square of pixels that one latent cell stands for."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def latent_channels(self) -> int:
        channels: int = self.vae.config.latent_channels
        return channels

    @property
    def by_folder(self) -> dict[str, nn.Module]:
        """The UNet and the text encoders by the names of their folders."""
        return {"unet": self.unet, **dict(zip(self.family.text_encoders, self.text_encoders, strict=True))}


@dataclass(frozen=True)
class Conditioning:
    """Encoded prompts: `states` (n, context, width), and `pooled` (n, d) where the family has it.

    `sizes` (n, 6), in pixels, are a condition of some families (SDXL): original height and width, crop top and left,
    target height and width. Without them the original is as large as the picture that is drawn.
    """

    states: torch.Tensor
    pooled: torch.Tensor | None = None
    sizes: torch.Tensor | None = None

    def __getitem__(self, rows: Any) -> Conditioning:
        """The prompts at `rows` (indices or a slice)."""
        return self._each(lambda tensor: tensor[rows])

    def to(self, device: torch.device) -> Conditioning:
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Conditioning:
        pooled, sizes = (None if tensor is None else change(tensor) for tensor in (self.pooled, self.sizes))
        return Conditioning(change(self.states), pooled, sizes)


def load_components(
    family: Family,
    folder: Path,
    device: torch.device | str,
    dtype: torch.dtype | None,
    *,
    unet: type,
    vae: type,
    encoders: Sequence[type],
) -> ModelComponents:
    """Load every component of a diffusers folder by these classes; InputError, before that, as `model_folder.check`."""
    from pipeline.families import all_families  # this module is imported by its plugins

    check(folder, family, all_families())
    where, precision = torch.device(device), dtype or torch.float32
    names = family.text_encoders
    return ModelComponents(
        family=family,
        folder=folder,
        unet=load_model(unet, folder, "unet", where, precision),
        vae=load_model(vae, folder, "vae", where, precision),
        text_encoders=tuple(
            load_model(k, folder, name, where, precision) for k, name in zip(encoders, names, strict=True)
        ),
        tokenizers=tuple(load_tokenizer(folder, name.replace("text_encoder", "tokenizer")) for name in names),
        scheduler=read_scheduler(folder),
        device=where,
        dtype=precision,
    )


def from_pure_noise(components: ModelComponents, zero_terminal_snr: bool) -> ModelComponents:
    """The components with a scheduler that begins at pure noise, if they were trained with `zero_terminal_snr`."""
    return (
        replace(components, scheduler={**components.scheduler, "rescale_betas_zero_snr": True})
        if zero_terminal_snr
        else components
    )


def load_model(kind: Any, folder: Path, name: str, device: torch.device, dtype: torch.dtype) -> Any:
    """One subfolder of a diffusers folder, frozen, in evaluation mode.

    Evaluation mode stays on in training too: dropout would draw from the global random state.
    """
    _disable_progress_bars()
    try:
        # The dtype is always given: transformers would otherwise keep the file's own.
        model, found = kind.from_pretrained(
            folder / name, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        why = "its weights are of another shape than config.json says" if "shape" in str(error) else _line(error)
        raise InputError(f"{str(folder / name)!r} cannot be loaded ({why}); download it again") from error
    if missing := sorted(found["missing_keys"]):  # both libraries would initialise these at random, or leave them empty
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"{str(folder / name)!r} lacks the weights {missing[0]}{more}; download it again")
    return model.to(device).eval().requires_grad_(False)


def load_tokenizer(folder: Path, name: str) -> CLIPTokenizer:
    """A tokenizer's subfolder, which `model_folder.check` has accepted."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder / name, local_files_only=True)


def read_scheduler(folder: Path) -> dict[str, Any]:
    """The scheduler's config as it stands in the folder, without defaults filled in."""
    return read_json(folder, "scheduler/scheduler_config.json")


def tokenise(components: ModelComponents, prompts: Sequence[str]) -> tuple[torch.Tensor, ...]:
    """Ids (n, context) for each tokenizer, padded the way the pipelines pad them; longer prompts are cut."""
    spelt = [spell(prompt, components.placeholder_tokens) for prompt in prompts]
    return tuple(
        tokenizer(
            spelt, padding="max_length", max_length=_context(encoder), truncation=True, return_tensors="pt"
        ).input_ids.to(components.device)
        for tokenizer, encoder in zip(components.tokenizers, components.text_encoders, strict=True)
    )


def tokens_cut(components: ModelComponents, prompt: str) -> int:
    """How many tokens of a prompt lie beyond the window of the first text encoder; those change nothing."""
    return _beyond(
        components.tokenizers[0], _context(components.text_encoders[0]), spell(prompt, components.placeholder_tokens)
    )


def counter_of_cut(folder: Path, placeholder_tokens: Mapping[str, str]) -> Callable[[str], int]:
    """`tokens_cut` of a base in `folder` and perhaps placeholder tokens, before any weights are loaded."""
    window = read_json(folder, "text_encoder/config.json")["max_position_embeddings"]
    tokenizer = load_tokenizer(folder, "tokenizer")
    tokenizer.add_tokens([word for spelt in placeholder_tokens.values() for word in spelt.split()])
    return lambda prompt: _beyond(tokenizer, window, spell(prompt, placeholder_tokens))


def _beyond(tokenizer: CLIPTokenizer, window: int, text: str) -> int:
    return max(0, len(tokenizer(text, truncation=False, verbose=False).input_ids) - window)


def spell(prompt: str, known: Mapping[str, str]) -> str:
    """The prompt with the placeholder tokens of `known` (name -> tokens) in place of the names.

    The first word alone, `<dodo>`, stands for all of them too, as in diffusers' pipelines.
    """
    for name, tokens in known.items():
        first = re.escape(tokens.partition(" ")[0])
        spelt = rf"{first}(?!_\d)(?:\s+{first}_\d+)*"
        prompt = re.sub(f"{whole_name(name)}|{spelt}", tokens, prompt, flags=re.IGNORECASE)
    return prompt


def _context(encoder: nn.Module) -> int:
    # A tokenizer saved without model_max_length would pad to 10^30; DistributedDataParallel hides `config`.
    config: Any = getattr(encoder, "module", encoder).config
    length: int = config.max_position_embeddings
    return length


def _disable_progress_bars() -> None:
    """Loading a small model takes no time, and its progress bars would fill the logs of the stages."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    of_diffusers.disable_progress_bar()
    of_transformers.disable_progress_bar()


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
