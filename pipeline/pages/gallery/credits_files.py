"""CREDITS.md of the site and of each species: who made the pictures, to go wherever a model or the site goes."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.pages.credits import credits_file, site_credits
from pipeline.pages.gallery.site import Site


def credits_files(site: Site) -> Mapping[str, str]:
    credited = [species for species in site.species if species.credits]
    every = [(species.name, species.credits) for species in credited]
    return {
        "CREDITS.md": site_credits(every, cites_pbdb=site.cites_pbdb),
        **{f"{species.key}/CREDITS.md": credits_file(species.name, species.credits) for species in credited},
    }
