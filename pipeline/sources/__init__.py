"""Where pictures come from. A source is a function that yields what it offers; `SOURCES` names them by `kind`.

`(source, root, seed, ask) -> Iterator[(Candidate, content)]`: the source's params, the project's root, the project's
seed, and `ask`, which sends a `Request` and returns its `Answer`. `content` is the file's bytes, a `Rejection` where
they cannot be had, or None where they are to be fetched from `image_url`. The order is that of the source. What is
wrong with a whole source is an exception, after everything that was found before; that of `openverse` also takes the
`credentials` of a registered client.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.core.errors import ParamsError
from pipeline.core.records import Candidate
from pipeline.core.source_params import SyntheticSource
from pipeline.sources import addresses, commons, folder, gbif, inaturalist, openverse, phylopic
from pipeline.sources.licences import address_of, spdx
from pipeline.sources.pagination import Ask, Offer


def drawn(source: SyntheticSource, root: Path, seed: int, ask: Ask) -> Iterator[Offer]:
    """The embedded world's pictures of one taxon; ParamsError when it does not know the taxon."""
    from pipeline.sources import synthetic  # the drawing code is for this source alone

    if source.taxon not in synthetic.NAMES:
        near = difflib.get_close_matches(source.taxon, synthetic.NAMES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(synthetic.NAMES)}"
        raise ParamsError(f"the embedded world has no taxon {source.taxon!r}; {hint}")
    for item in synthetic.items(source.taxon, seed, source.good, source.clutter):
        yield _drawn_candidate(source.label, item), item.content


def _drawn_candidate(label: str, item) -> Candidate:
    return Candidate(
        source=label,
        source_id=item.source_id,
        image_url=item.url,
        title=item.title,
        caption=item.caption,
        author=item.author,
        licence=spdx(item.licence),
        licence_url=address_of(item.licence),
        licence_text=item.licence,
    )


SOURCES: dict[str, Callable[..., Iterator[Offer]]] = {
    "synthetic": drawn,
    "folder": folder.pictures,
    "addresses": addresses.pictures,
    "commons": commons.pictures,
    "openverse": openverse.pictures,
    "gbif": gbif.pictures,
    "inaturalist": inaturalist.pictures,
    "phylopic": phylopic.pictures,
}
