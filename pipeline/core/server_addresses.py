"""Where people find the servers of a project: Prefect, MLflow and the gallery, for links from one to the other.

`paleo up` writes its addresses to `.work/addresses.json`, where they stay when it stops; before its first run they are
where it serves by default. `PREFECT_UI_URL`, `MLFLOW_TRACKING_URI` (over http) and `PALEO_GALLERY_URL` name others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from pipeline.core import strict_json

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


def parse(written: str, environment: Mapping[str, str]) -> ServerAddresses:
    """Those of the environment, then those that `paleo up` wrote last, then where it serves by default.

    Parameters
    ----------
    written
        The text of FILE; empty or damaged: `paleo up` wrote none.
    """
    named = {
        "prefect": environment.get("PREFECT_UI_URL", ""),
        "mlflow": environment.get("MLFLOW_TRACKING_URI", ""),
        "gallery": environment.get("PALEO_GALLERY_URL", ""),
    }
    over_http = {
        name: _public(address) for name, address in named.items() if address.startswith(("http://", "https://"))
    }
    return ServerAddresses(**{name: at.rstrip("/") for name, at in {**_stored(written), **over_http}.items()})


def _public(address: str) -> str:
    """Without user and password: links are published."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _stored(written: str) -> dict[str, str]:
    try:
        found = strict_json.parse(written)
    except ValueError:
        return {}
    fields = ServerAddresses.__dataclass_fields__
    return {name: found[name] for name in fields if isinstance(found, dict) and isinstance(found.get(name), str)}
