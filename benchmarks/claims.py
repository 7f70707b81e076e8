"""Claims of the README: a measured number beside the target that it must reach."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Claim:
    """`value` is None where nothing was measured, and `note` says what that would need; it is no failure."""

    what: str
    value: float | None
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def reached(self) -> bool:
        if self.value is None:
            return True
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)

    def formatted(self) -> str:
        if self.value is None:
            return f"not measured ({self.note})"
        number = f"{self.value:.2f} {self.unit}" if abs(self.value) < 10 else f"{self.value:.1f} {self.unit}"
        return f"{number} ({self.note})" if self.note else number

    def target(self) -> str:
        bounds = [("≤", self.at_most), ("≥", self.at_least)]
        return " and ".join(f"{sign} {bound:g} {self.unit}" for sign, bound in bounds if bound is not None)

    def verdict(self) -> str:
        """`yes`, `no`, or nothing where nothing was measured."""
        if self.value is None:
            return ""
        return "yes" if self.reached else "no"

    def row(self) -> dict:
        return {**asdict(self), "reached": None if self.value is None else self.reached}
