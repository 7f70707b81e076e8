"""Requests to servers of Prefect and MLflow, with the credentials that their own clients read from the environment."""

from __future__ import annotations

import base64
import configparser
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

MLFLOW_FILE = Path("~/.mlflow/credentials")


def status(url: str, authorization: str = "", *, seconds: float, tls: ssl.SSLContext | None = None) -> int | None:
    """The status that an address answers with; None when it does not answer. No other host is sent the credentials."""
    request = urllib.request.Request(url)
    if authorization:
        request.add_unredirected_header("Authorization", authorization)
    try:
        with urllib.request.urlopen(request, timeout=seconds, context=tls) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError):
        return None


def prefect_authorization() -> str:
    """What Prefect's client sends: an API key, else user and password; empty without any."""
    key, password = os.environ.get("PREFECT_API_KEY"), os.environ.get("PREFECT_API_AUTH_STRING")
    return f"Bearer {key}" if key else _basic(password)


def mlflow_status(uri: str, query: str, *, seconds: float) -> int | None:
    """`status` of a query to a tracking server, whose address may hold user and password."""
    parts = urlsplit(uri)
    inside = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    server = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    authorization = mlflow_authorization() or _basic(inside)
    tls = _mlflow_tls() if parts.scheme == "https" else None
    return status(f"{server.rstrip('/')}{query}", authorization, seconds=seconds, tls=tls)


def mlflow_authorization() -> str:
    """What MLflow's client sends: user and password (the environment's, else its file's), else a token."""
    file = configparser.ConfigParser(interpolation=None)
    file.read(MLFLOW_FILE.expanduser())
    user, password = (
        os.environ.get(name.upper(), "") or file.get("mlflow", name, fallback="")
        for name in ("mlflow_tracking_username", "mlflow_tracking_password")
    )
    if user and password:
        return _basic(f"{user}:{password}")
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return f"Bearer {token}" if token else ""


def _basic(user_and_password: str | None) -> str:
    return f"Basic {base64.b64encode(user_and_password.encode()).decode()}" if user_and_password else ""


def _mlflow_tls() -> ssl.SSLContext:
    """As MLflow's client: an own authority, a client's certificate, or none of it checked."""
    context = ssl.create_default_context(cafile=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH"))
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate := os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH"):
        context.load_cert_chain(certificate)
    return context
