"""What the demo reached, in a file that git keeps: benchmarks/results/demo.json. README.md and its picture follow it.

make demo && .venv/bin/python -m benchmarks --demo-of .
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.held_out_spread import SPLITS, base_spread

RESULTS = Path(__file__).parent / "results" / "demo.json"


def read(project: Path, minutes: float | None = None) -> dict[str, Any]:
    """Species accuracy of base and chosen step, in shares of 1 with 95 % intervals, of a project whose demo has run.

    `minutes` is what the run took, where that was measured. Raises FileNotFoundError when a species is not evaluated.
    """
    weights = (project / "pipeline/assets/tiny").rglob("*.safetensors")
    spread = base_spread(project)
    names = {key: entry["name"] for key, entry in _params(project)["species"].items()}
    return {
        "machine": _machine(),
        "minutes": minutes and round(minutes, 1),
        "base_model_bytes": sum(path.stat().st_size for path in weights),
        "side_px": _params(project)["sample"]["width_px"],
        "held_out_splits": SPLITS,
        "species": {
            key: {"name": name, **_accuracies(_verdict(project, key)), "base_other_held_out": list(spread[key])}
            for key, name in names.items()
        },
    }


def write(results: Mapping[str, Any], path: Path = RESULTS) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load(path: Path = RESULTS) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _accuracies(verdict: Mapping[str, Any]) -> dict[str, Any]:
    accuracy = {step: values["species_accuracy"] for step, values in verdict["steps"].items()}
    return {"chosen_step": verdict["step"], "base": accuracy["0"], "chosen": accuracy[str(verdict["step"])]}


def _verdict(project: Path, species: str) -> dict[str, Any]:
    return json.loads((project / "reports/evaluation" / species / "details/verdict.json").read_text(encoding="utf-8"))


def _params(project: Path) -> dict[str, Any]:
    return YAML(typ="safe").load(project / "params.yaml")


def _machine() -> dict[str, Any]:
    """What decides how sums are rounded, hence the last bits of a picture."""
    import torch

    return {
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__.partition("+")[0],
    }
