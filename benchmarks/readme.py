"""Numbers of README.md: written between markers, from results that git keeps, so that none of them can be stale.

A block begins with `<!-- bench: NAME -->` and ends with `<!-- end -->`; both stay invisible on the page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"(<!-- bench: (?P<name>[\w-]+) -->)(?P<text>.*?)(<!-- end -->)", re.DOTALL)


def render(text: str, results: Mapping[str, Any]) -> str:
    """The text with every block written anew.

    Raises
    ------
    KeyError
        When a block has a name that nothing here writes.
    ValueError
        When one of the blocks that are written here is not in the text.
    """
    if missing := BLOCKS.keys() - {found["name"] for found in BLOCK.finditer(text)}:
        raise ValueError(f"the text has no block `<!-- bench: {min(missing)} -->` … `<!-- end -->`")
    return BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found['name']](results)}{found[4]}", text)


def write(results: Mapping[str, Any], path: Path = README) -> None:
    path.write_text(render(path.read_text(encoding="utf-8"), results), encoding="utf-8")


def _claim(results: Mapping[str, Any]) -> str:
    base, chosen, n = _hits(results, "base"), _hits(results, "chosen"), _samples(results)
    return (
        f"In the demo **{chosen} of {n}** pictures by the fine-tuned models are nearest to held-out pictures "
        f"of their own species, {base} of {n} by the base model with the same prompts and seeds"
    )


def _table(results: Mapping[str, Any]) -> str:
    rows = [
        f"| {each['name']} | {_percent(each['base'])} | {_range(each['base_other_held_out'])} "
        f"| **{_percent(each['chosen'])}** | {each['chosen_step']} |"
        for each in results["species"].values()
    ]
    machine, minutes = results["machine"], results["minutes"]
    took = f", {minutes:.0f} minutes" if minutes else ""
    splits = results["held_out_splits"]
    n = next(iter(results["species"].values()))["base"]["n"]
    return "\n".join(
        [
            "\n| species | base model | … by other held-out pictures | fine-tuned | chosen step |",
            "|---|---|---|---|---|",
            *rows,
            f"\nShares of {n} samples a species, with their 95 % intervals, measured on {machine['cores']} cores "
            f"({machine['architecture']}, {machine['kernels']} kernels) with PyTorch {machine['torch']}{took}. "
            f"Third column: the same base pictures by {splits} other choices of what is held out.\n",
        ]
    )


def _size(results: Mapping[str, Any]) -> str:
    return f"{results['base_model_bytes'] / 1e6:.0f} MB, {results['side_px']} pixels"


def _percent(accuracy: Mapping[str, float]) -> str:
    value, low, high = (round(100 * accuracy[key]) for key in ("value", "low", "high"))
    return f"{value} % ({low}–{high})"


def _range(shares: Sequence[float]) -> str:
    low, high = (round(100 * share) for share in shares)
    return f"{low}–{high} %"


def _hits(results: Mapping[str, Any], which: str) -> int:
    return sum(round(each[which]["value"] * each[which]["n"]) for each in results["species"].values())


def _samples(results: Mapping[str, Any]) -> int:
    return sum(each["base"]["n"] for each in results["species"].values())


BLOCKS: dict[str, Callable[[Mapping[str, Any]], str]] = {"claim": _claim, "table": _table, "base-model": _size}
