"""The MLflow server of `paleo up`: `python -m uvicorn --factory pipeline.io.tracking.mlflow_server:app`.

`mlflow server` has the same app. It answers pages of every other server on this machine, though, and every host whose
name begins like an address of a private network, such as `10.example.org`.
"""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.core.same_origin import SameOrigin
from pipeline.io.tracking.artifact_locations import ARTIFACTS, STORE


def app() -> SameOrigin:
    """MLflow's app with the project in the working directory as its store, as `mlflow server` sets it up."""
    from mlflow.server import constants
    from mlflow.server.handlers import initialize_backend_stores

    store, artifacts = f"sqlite:///{Path(STORE).absolute()}", str(Path(ARTIFACTS).absolute())
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: store,
        constants.REGISTRY_STORE_URI_ENV_VAR: store,
        constants.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: artifacts,
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes and 1.4 GB for nothing here
        "MLFLOW_SERVER_ALLOWED_HOSTS": "localhost,localhost:*,127.0.0.1,127.0.0.1:*,[[]::1],[[]::1]:*",
    }
    initialize_backend_stores(store, store, "mlflow-artifacts:/")
    from mlflow.server.fastapi_app import app as server  # reads the variables

    return SameOrigin(server)
