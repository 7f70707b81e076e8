"""The pages of the site that the stage `gallery` writes. A page is its module with its templates, and one line here.

A page is a function from the whole site to the texts of its files; `pipeline.gallery` writes them below `site/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pipeline.core import registry
from pipeline.pages.gallery.site import Site

PAGES: dict[str, str] = {
    "overview": "pipeline.pages.gallery.overview:overview_page",
    "species": "pipeline.pages.gallery.species:species_pages",
    "credits": "pipeline.pages.gallery.credits_files:credits_files",
}


class SitePage(Protocol):
    def __call__(self, site: Site, /) -> Mapping[str, str]:
        """Text by the file's path in the site, such as `index.html`."""
        ...


def render_site(site: Site) -> dict[str, str]:
    """The text files of all pages, by their paths in the site."""
    pages: list[SitePage] = [registry.plugin(entry) for entry in PAGES.values()]
    return {path: text for page in pages for path, text in page(site).items()}
