"""The contract of a model family: what a latent diffusion model is, and how the rest of the pipeline may use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pipeline.families.model_components import Conditioning, ModelComponents

# What a fine-tuning method may need of a family.
Capability = Literal["unet", "text_encoder", "predicts_noise", "predicts_velocity", "predicts_flow", "pooled_text"]


class Family(Protocol):
    """One model family, in one file that is named in `FAMILIES`.

    The file imports torch and diffusers in its functions, so that names, titles and the checks of a base folder need
    neither. It ends with `_: type[Family] = ItsClass`, by which mypy checks the contract.
    """

    @property
    def name(self) -> str:
        """Its key in `FAMILIES`, and the value of `base.family` in params.yaml."""

    @property
    def title(self) -> str:
        """Its name in messages, such as `Stable Diffusion XL`."""

    @property
    def capabilities(self) -> frozenset[Capability]: ...

    @property
    def text_encoders(self) -> tuple[str, ...]:
        """Folders of the text encoders that may be trained; each has a tokenizer's folder of the same ending."""

    @property
    def pipeline_class(self) -> str:
        """The class of diffusers that draws with it."""

    @property
    def adapter_prefixes(self) -> Mapping[str, str]:
        """Folder of a module -> what its adapters' names begin with in kohya's files."""

    @property
    def embedding_keys(self) -> tuple[str, ...]:
        """Names of a token's vectors in a file, one for each text encoder; empty: the token itself."""

    def recognises(self, index: Mapping[str, Any], unet: Mapping[str, Any]) -> bool:
        """Is a diffusers folder with this model_index.json and this unet/config.json a model of the family?"""

    def load(
        self, folder: Path | str, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
    ) -> ModelComponents:
        """Read a local diffusers folder (float32 by default); InputError where it is incomplete or another family's."""

    def empty(self, folder: Path, name: str) -> nn.Module:
        """The module of one subfolder on the meta device, without weights; InputError where its config is wrong."""

    def encode_prompt(self, components: ModelComponents, prompts: Sequence[str]) -> Conditioning:
        """n prompts -> what the denoiser is conditioned on; gradients flow into a trained text encoder."""

    def encode_tokens(self, components: ModelComponents, tokens: tuple[torch.Tensor, ...]) -> Conditioning:
        """The same from token ids (n, context), one tensor for each tokenizer."""

    def predict(
        self, components: ModelComponents, noisy: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning
    ) -> torch.Tensor:
        """The denoiser's output (n, c, h, w): noise or velocity, by the scheduler's prediction type."""

    def pipeline(self, components: ModelComponents, scheduler: Any) -> Any:
        """diffusers' own pipeline around these components, for sampling; no safety checker, no progress bar."""

    def kohya_version(self, unet: Mapping[str, Any]) -> str:
        """The name of the base model's kind in kohya's files, by unet/config.json; empty for any other shape."""

    def architecture(self, version: str, prediction_type: str) -> str:
        """The name of a kind in Stability AI's model metadata standard (`modelspec.architecture`)."""

    def checkpoint_markers(self, prediction_type: str, zero_terminal_snr: bool) -> dict[str, torch.Tensor]:
        """Further tensors by which other programs recognise how a single-file checkpoint is sampled, if any."""

    @property
    def has_sampling_config(self) -> bool:
        """Does a single-file checkpoint that predicts velocity need a config file beside it?"""
