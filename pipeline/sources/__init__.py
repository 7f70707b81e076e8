"""Where pictures come from. A source is a function that yields what it offers; `SOURCES` names them by `kind`.

`(source, root, seed) -> Iterator[(Candidate, content)]`: the source's params, the project's root, the project's seed.
`content` is the file's bytes, or a `Rejection` where they could not be had. The order is the same on every run.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.core.errors import ParamsError
from pipeline.core.source_params import SyntheticSource
from pipeline.core.records import Candidate, Rejection
from pipeline.sources.folder import pictures

Offer = tuple[Candidate, bytes | Rejection]


def drawn(source: SyntheticSource, root: Path, seed: int) -> Iterator[Offer]:
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
        source=label, source_id=item.source_id, image_url=item.url, title=item.title, caption=item.caption,
        author=item.author, licence=item.licence,
    )  # fmt: skip


SOURCES: dict[str, Callable[..., Iterator[Offer]]] = {"synthetic": drawn, "folder": pictures}
