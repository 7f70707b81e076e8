"""What uvicorn serves for `paleo up` and `paleo run`: `python -m uvicorn --factory flows.server_apps:gallery …`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pipeline.core.same_origin import SameOrigin

SITE = Path("site")
BESIDE = ("releases", "reports/curation", "reports/validation", "site")
OPEN = "/open"
# Both versions of Prefect's UI keep the password under this name. What stands behind `#` is sent to no server.
LOG_IN = """<!doctype html><title>Prefect</title><p>Opening Prefect …</p>
<script>localStorage.setItem("prefect-password", location.hash.slice(1)); location.replace("/runs")</script>"""


def prefect() -> SameOrigin:
    """Prefect's server; `/open#<password in base64>` logs a browser in."""
    from prefect.server.api.server import create_app

    server = create_app(final=True)
    server.router.routes.insert(0, Route(OPEN, lambda _request: HTMLResponse(LOG_IN)))
    return SameOrigin(server)


def gallery() -> SameOrigin:
    """The pages in `site/`, those that are written later too, and the folders beside it to which they link by `..`.

    A browser leaves out a `..` above the top, so from a page here `../releases` is `/releases`, as from disk.
    """
    beside = [Mount(f"/{folder}", PlainFiles(Path(folder))) for folder in BESIDE]
    app = Starlette(routes=[*beside, Mount("/", PlainFiles(SITE))], exception_handlers={404: _not_found})
    return SameOrigin(app)


def _not_found(_request: Request, _error: Exception) -> PlainTextResponse:
    made = (SITE / "index.html").is_file()
    return PlainTextResponse("Not Found" if made else "there is no gallery yet; `paleo run` makes it", 404)


class PlainFiles(StaticFiles):
    """A folder's files and the index.html of folders: no symbolic links, no dotfiles, no listings."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, html=True, check_dir=False)
        self.config_checked = True  # before the first run there is no folder, which is status 404
        self._folder = folder

    def lookup_path(self, path: str) -> tuple[str, Any]:
        place = self._folder
        for part in ("", *Path(path).parts):
            place = place / part
            if part.startswith(".") or place.is_symlink():
                return "", None
        return super().lookup_path(path)
