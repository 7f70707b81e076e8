"""Where pictures come from: one source per file, each with its params, hosts and credentials (`source.py`)."""

from __future__ import annotations

from typing import Any

from pipeline.core import registry
from pipeline.core.param_types import SourceParams
from pipeline.sources.source import Source

SOURCES: dict[str, str] = {  # `kind` in params.yaml -> the class, imported when it is used
    "synthetic": "pipeline.sources.synthetic:SyntheticSource",
    "folder": "pipeline.sources.folder:FolderSource",
    "addresses": "pipeline.sources.addresses:AddressesSource",
    "commons": "pipeline.sources.commons:CommonsSource",
    "openverse": "pipeline.sources.openverse:OpenverseSource",
    "gbif": "pipeline.sources.gbif:GbifSource",
    "inaturalist": "pipeline.sources.inaturalist:INaturalistSource",
    "phylopic": "pipeline.sources.phylopic:PhyloPicSource",
}


def source_of(params: SourceParams) -> Source[Any]:
    """The source that an entry of `species.<key>.sources` names by its `kind`."""
    source: Source[Any] = registry.plugin(registry.lookup("kind of source", params.kind, SOURCES))()
    return source
