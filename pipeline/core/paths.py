"""Where everything lies: the only place in the code where an output path is written."""

from __future__ import annotations

import os.path
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """Folders of one species below the project's root."""

    root: Path
    species: str

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def raw(self) -> Path:
        return self.root / "data/raw" / self.species

    @property
    def curated(self) -> Path:
        return self.root / "data/curated" / self.species

    @property
    def curation(self) -> Path:
        """What curation shows to people: report, contact sheet, thumbnails."""
        return self.root / "reports/curation" / self.species

    @property
    def reviews(self) -> Path:
        """Verdicts of people, kept in git."""
        return self.root / "data/reviews" / f"{self.species}.csv"

    @property
    def masks(self) -> Path:
        """Where in its pictures the loss counts, drawn by people, kept in git."""
        return self.root / "data/masks" / self.species

    @property
    def validation(self) -> Path:
        return self.root / "reports/validation" / self.species

    @property
    def statistics(self) -> Path:
        """Of the newest accepted data set and the one before it, kept in git: what the next one is compared with."""
        return self.root / "reports/validation" / f"{self.species}.statistics.json"

    @property
    def model(self) -> Path:
        return self.root / "models" / self.species

    @property
    def samples(self) -> Path:
        return self.root / "samples" / self.species

    @property
    def evaluation(self) -> Path:
        return self.root / "reports/evaluation" / self.species

    @property
    def site(self) -> Path:
        return self.root / "site"

    def gallery_link(self, folder: Path) -> str:
        """How a page in `folder` links to the species' page of the gallery."""
        return Path(os.path.relpath(self.site / self.species / "index.html", folder)).as_posix()

    @property
    def work(self) -> Path:
        return self.root / ".work"

    def of(self, species: str) -> Paths:
        """The same project, another species."""
        return Paths(self.root, species)
