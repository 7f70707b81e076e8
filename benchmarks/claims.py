"""One measured number beside the aim that it must reach."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Claim:
    what: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def reached(self) -> bool:
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)

    def shown(self) -> str:
        return f"{self.value:.2f} {self.unit}" if abs(self.value) < 10 else f"{self.value:.1f} {self.unit}"

    def aim(self) -> str:
        bounds = [("≤", self.at_most), ("≥", self.at_least)]
        return " and ".join(f"{sign} {bound:g} {self.unit}" for sign, bound in bounds if bound is not None)

    def row(self) -> dict:
        return {**asdict(self), "reached": self.reached}
