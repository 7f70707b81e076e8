"""The sources of a species in params.yaml: one class per `kind`, told apart by it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from pipeline.core.param_types import NonNegativeInt, PositiveInt, Section, Text


class SyntheticSource(Section):
    kind: Literal["synthetic"]
    taxon: str
    good: PositiveInt
    clutter: NonNegativeInt

    @property
    def label(self) -> str:
        """How tables name this source."""
        return f"{self.kind}:{self.taxon}"


class FolderSource(Section):
    kind: Literal["folder"]
    path: Text
    licence: str
    author: str = ""
    trusted: bool = False  # True: chosen by hand, so curation does not ask what a picture shows

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.path}"


class AddressesSource(Section):
    """A list of picture addresses: txt (one a line), csv, jsonl or parquet."""

    kind: Literal["addresses"]
    path: Text
    licence: str = ""  # for rows that bring none of their own
    author: str = ""
    trusted: bool = False

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.path}"


class CommonsSource(Section):
    """Wikimedia Commons: a category with its subcategories, or a search."""

    kind: Literal["commons"]
    category: Text | None = None  # without "Category:"
    search: Text | None = None
    depth: NonNegativeInt = 2  # levels of subcategories
    limit: PositiveInt = 500  # pictures at most

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.category or self.search}"


class OpenverseSource(Section):
    kind: Literal["openverse"]
    query: Text
    category: Literal["illustration", "photograph", "digitized_artwork"] | None = None
    limit: PositiveInt = 100

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.query}"


class GbifSource(Section):
    """GBIF: pictures of the occurrences of a taxon, or those that its species page shows."""

    kind: Literal["gbif"]
    taxon_key: PositiveInt
    media: Literal["occurrences", "species"] = "occurrences"
    limit: PositiveInt = 300

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.media}:{self.taxon_key}"


class INaturalistSource(Section):
    kind: Literal["inaturalist"]
    taxon_id: PositiveInt
    limit: PositiveInt = 200

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.taxon_id}"


class PhyloPicSource(Section):
    """PhyloPic: silhouettes of a clade, by its name."""

    kind: Literal["phylopic"]
    name: Text
    limit: PositiveInt = 100

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.name}"


KINDS: tuple[type[Section], ...] = (
    SyntheticSource,
    FolderSource,
    AddressesSource,
    CommonsSource,
    OpenverseSource,
    GbifSource,
    INaturalistSource,
    PhyloPicSource,
)
API_HOSTS = {  # public APIs by kind, which want to know who asks
    "commons": "commons.wikimedia.org",
    "openverse": "api.openverse.org",
    "gbif": "api.gbif.org",
    "inaturalist": "api.inaturalist.org",
    "phylopic": "api.phylopic.org",
}
Source = Annotated[
    SyntheticSource
    | FolderSource
    | AddressesSource
    | CommonsSource
    | OpenverseSource
    | GbifSource
    | INaturalistSource
    | PhyloPicSource,
    Field(discriminator="kind"),
]


def kind_names() -> tuple[str, ...]:
    """What `kind:` may say."""
    return tuple(kind.model_fields["kind"].annotation.__args__[0] for kind in KINDS)


def keys_of(kind: Any) -> tuple[str, ...]:
    """The keys that a source of this kind may have; of an unknown kind: those of any."""
    chosen = [section for section in KINDS if section.model_fields["kind"].annotation.__args__[0] == kind]
    return tuple(dict.fromkeys(name for section in chosen or KINDS for name in section.model_fields))
