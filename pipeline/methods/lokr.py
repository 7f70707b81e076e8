"""LoKr (Yeh et al. 2024): W + (alpha / rank) C ⊗ D, a Kronecker product; D is B A where the rank is small enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.core.errors import ParamsError
from pipeline.core.training_params import Train
from pipeline.families.family import Family
from pipeline.methods.method import Method
from pipeline.methods.params import AdapterParams
from pipeline.methods.peft_method import PeftMethod


class LokrParams(AdapterParams):
    """Kronecker products. From half the second factor's side on, peft keeps that factor whole, and the rank only
    divides alpha."""

    factor: int = -1
    """-1: as square as can be."""


class Lokr(PeftMethod):
    name = "lokr"
    Params = LokrParams

    def check(self, family: Family, base: Path, train: Train) -> None:
        factor = self.params(train).factor
        if factor != -1 and factor < 1:
            raise ParamsError(
                f"train.lokr.factor is {factor}, which divides nothing; take -1 (as square as can be) or 1, 2 …"
            )
        super().check(family, base, train)

    def peft_config(self, params: LokrParams, targets: list[str]) -> Any:
        from peft import LoKrConfig

        return LoKrConfig(r=params.rank, alpha=params.alpha, decompose_factor=params.factor, target_modules=targets)


_: type[Method] = Lokr
