"""The addresses of a project's servers, read from its folder and the environment."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.core.server_addresses import FILE, ServerAddresses, parse


def read(root: Path) -> ServerAddresses:
    """The addresses for links between the servers' pages."""
    file = root / FILE
    return parse(file.read_text(encoding="utf-8", errors="replace") if file.is_file() else "", os.environ)
