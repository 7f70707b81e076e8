"""LoHa (Hyeon-Woo et al. 2022): W + (alpha / rank) (B A) ⊙ (D C), the product of each number of two small products.

Its rank can be the square of `rank`.
"""

from __future__ import annotations

from typing import Any

from pipeline.core.param_types import PositiveInt
from pipeline.methods.method import Method
from pipeline.methods.params import AdapterParams
from pipeline.methods.peft_method import PeftMethod


class LohaParams(AdapterParams):
    """Hadamard products."""

    rank: PositiveInt = 8
    alpha: PositiveInt = 8


class Loha(PeftMethod):
    name = "loha"
    Params = LohaParams

    def peft_config(self, params: LohaParams, targets: list[str]) -> Any:
        from peft import LoHaConfig

        return LoHaConfig(r=params.rank, alpha=params.alpha, target_modules=targets)


_: type[Method] = Loha
