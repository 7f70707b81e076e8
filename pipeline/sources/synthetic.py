"""The embedded source: pictures that the project draws itself, of three taxa of its own world."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pipeline.core import registry
from pipeline.core.errors import ParamsError
from pipeline.core.param_types import NonNegativeInt, PositiveInt, SourceParams
from pipeline.core.records import Candidate
from pipeline.sources.licences import address_of, spdx
from pipeline.sources.source import Offer, Source, SourceContext


class SyntheticParams(SourceParams):
    """Pictures that the project draws itself: `good` of the taxon, and `clutter` that curation should drop."""

    kind: Literal["synthetic"]
    taxon: str
    good: PositiveInt
    clutter: NonNegativeInt

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.taxon}"


class SyntheticSource(Source[SyntheticParams]):
    Params = SyntheticParams

    def check(self, params: SyntheticParams, root: Path) -> None:
        # The drawing code brings numpy, which reading params.yaml does not need.
        from pipeline.sources.world import NAMES

        if params.taxon not in NAMES:
            hint = registry.hint(params.taxon, NAMES)
            raise ParamsError(f"the embedded world has no taxon {params.taxon!r}; {hint}")

    def pictures(self, params: SyntheticParams, context: SourceContext) -> Iterator[Offer]:
        """The pictures of one taxon, mixed with clutter; ParamsError for a taxon that this world does not have."""
        from pipeline.sources.world import items

        self.check(params, context.root)
        for item in items.items(params.taxon, context.seed, params.good, params.clutter):
            candidate = Candidate(
                source=params.label,
                source_id=item.source_id,
                image_url=item.url,
                title=item.title,
                caption=item.caption,
                author=item.author,
                licence=spdx(item.licence),
                licence_url=address_of(item.licence),
                licence_text=item.licence,
            )
            yield candidate, item.content
