"""Pages of what is registered: versions with their dates, and links to where each comes from.

They lie in `releases/` beside `site/` and outside every output of DVC, because dates and addresses are no function of
the data. The pages of the site show them where they are there (`<object>`), so they stand in a frame as well as alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.pages import render


@dataclass(frozen=True)
class RegisteredVersion:
    """A version as the pages show it. What is not known is empty.

    `registered_at` is UTC, `score` the primary metric from base to chosen, in words; ids and digests are as their
    programs have them.
    """

    number: int
    aliases: tuple[str, ...] = ()
    registered_at: str = ""
    step: str = ""
    lineage_id: str = ""
    method: str = ""
    score: str = ""
    verdict: str = ""
    licences: str = ""
    n_pictures: str = ""
    experiment_id: str = ""
    run_id: str = ""
    prefect_flow_run_id: str = ""
    prefect_flow_run_name: str = ""
    git_commit: str = ""
    dataset_tag: str = ""
    dvc_md5: str = ""


@dataclass(frozen=True)
class RegisteredSpecies:
    """`versions`: the newest first."""

    key: str
    name: str
    versions: tuple[RegisteredVersion, ...]

    @property
    def serving(self) -> RegisteredVersion:
        """The champion, without one the newest."""
        return next((version for version in self.versions if "champion" in version.aliases), self.versions[0])


Addresses = Callable[[str, RegisteredVersion], Mapping[str, str]]
"""Of a species' version: addresses by `version, training, flow_run, commit`, those that there are."""


def release_pages(registered: Sequence[RegisteredSpecies], addresses: Addresses) -> dict[str, str]:
    """`index.html` with the serving version of each species, and `<species>.html` with all of its versions."""
    pages = {f"{each.key}.html": _species_page(each, addresses) for each in registered}
    rows = [(each, each.serving, addresses(each.key, each.serving)) for each in registered]
    return {"index.html": render("releases/index.html", rows=rows), **pages}


def _species_page(species: RegisteredSpecies, addresses: Addresses) -> str:
    rows = [(version, addresses(species.key, version)) for version in species.versions]
    return render("releases/species.html", species=species, rows=rows)


def as_json(species: RegisteredSpecies) -> dict[str, Any]:
    return asdict(species)


def from_json(stored: Mapping[str, Any]) -> RegisteredSpecies:
    """The inverse of `as_json`."""
    versions = (RegisteredVersion(**{**each, "aliases": tuple(each["aliases"])}) for each in stored["versions"])
    return RegisteredSpecies(stored["key"], stored["name"], tuple(versions))
