"""Where people find the servers of a project: Prefect, MLflow and the gallery, for links from one to the other.

`paleo up` writes its addresses to `.work/addresses.json`, where they stay when it stops; before its first run they are
where it serves by default. `PREFECT_UI_URL`, `MLFLOW_TRACKING_URI` (over http) and `PALEO_GALLERY_URL` name others.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

FILE = ".work/addresses.json"


@dataclass(frozen=True)
class ServerAddresses:
    """Addresses without a slash at the end."""

    prefect: str = "http://127.0.0.1:4200"
    mlflow: str = "http://127.0.0.1:5000"
    gallery: str = "http://127.0.0.1:8080"

    def flow_run(self, id: str) -> str:
        return f"{self.prefect}/runs/flow-run/{id}"

    def model_version(self, species: str, number: int) -> str:
        return f"{self.mlflow}/#/models/{species}/versions/{number}"

    def training(self, experiment_id: str, run_id: str) -> str:
        return f"{self.mlflow}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"

    def species(self, species: str) -> str:
        return f"{self.gallery}/{species}/index.html"


def read(root: Path) -> ServerAddresses:
    """Those of the environment, then those of the last `paleo up`, then where it serves by default."""
    environment = {
        "prefect": os.environ.get("PREFECT_UI_URL", ""),
        "mlflow": os.environ.get("MLFLOW_TRACKING_URI", ""),
        "gallery": os.environ.get("PALEO_GALLERY_URL", ""),
    }
    named = {name: address for name, address in environment.items() if address.startswith(("http://", "https://"))}
    known = {name: address.rstrip("/") for name, address in {**_written(root), **named}.items()}
    return ServerAddresses(**known)


def _written(root: Path) -> dict[str, str]:
    """What `paleo up` wrote last; nothing when that is missing or damaged."""
    try:
        found = json.loads((root / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    fields = ServerAddresses.__dataclass_fields__
    return {name: found[name] for name in fields if isinstance(found, dict) and isinstance(found.get(name), str)}
