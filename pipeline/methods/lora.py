"""LoRA (Hu et al. 2021): W + (alpha / rank) B A, where only the small A and B are trained.

With `rslora` the factor is alpha / sqrt(rank) (Kalajdzievski 2023); with `dora` the length of every row of W is
trained apart from its direction (Liu et al. 2024). A snapshot is one file that diffusers reads:

    pipe.load_lora_weights("models/dodo/step-000500")
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.families.family import Family
from pipeline.methods.method import Artefact, Format, Method
from pipeline.methods.params import LoraParams
from pipeline.methods.peft_method import PeftMethod

if TYPE_CHECKING:
    import torch

    from pipeline.families.model_components import ModelComponents
    from pipeline.methods.adapters import Adapters
    from pipeline.methods.trainable import Trainable


class Lora(PeftMethod):
    name = "lora"
    Params = LoraParams
    formats: Mapping[Format, tuple[Artefact, ...]] = {
        "kohya": ("adapters",),
        "diffusers": ("adapters",),
        "single-file": ("checkpoint",),
    }
    kohya_network: tuple[str, Mapping[str, str]] = ("networks.lora", {})

    def peft_config(self, params: LoraParams, targets: list[str]) -> Any:
        from pipeline.methods import lora_file

        return lora_file.config(params, targets)

    def save(self, trainable: Trainable, folder: Path, dtype: torch.dtype, metadata: Mapping[str, str]) -> None:
        from pipeline.methods import lora_file

        lora_file.write(trainable.modules, folder, dtype, metadata)

    def restore(self, components: ModelComponents, folder: Path) -> ModelComponents:
        from pipeline.methods import lora_file

        return lora_file.restore(components, folder)

    def adapters(self, folder: Path) -> Adapters:
        from pipeline.methods import lora_file

        return lora_file.read(folder)

    def load_snippet(self, family: Family | None, card: Mapping[str, Any], path: str) -> list[str]:
        return [f'pipe.load_lora_weights("{path}", weight_name="pytorch_lora_weights.safetensors")']


_: type[Method] = Lora
