"""The registry of sources: every entry is a whole plugin, and the embedded world delivers as the others do."""

import subprocess
import sys

import pytest

from pipeline.core import registry
from pipeline.core.data_params import Host
from pipeline.core.errors import ParamsError
from pipeline.core.param_types import SourceParams
from pipeline.sources import SOURCES
from pipeline.sources.source import Source
from pipeline.sources.synthetic import SyntheticParams
from tests.project import ROOT
from tests.sources.fake_fetch import in_turn, listed


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_names_a_source_with_params_of_that_kind(kind):
    source = registry.plugin(SOURCES[kind])
    assert Source in source.__mro__ and issubclass(source.Params, SourceParams)
    assert source.Params.model_fields["kind"].annotation.__args__ == (kind,)
    assert source.Params.label is not SourceParams.label and source.Params.__doc__
    assert all(isinstance(limits, Host) for limits in source.hosts.values())
    assert source.wants_contact == bool(source.hosts), "public APIs want a contact address"


def test_params_without_web_sources_import_none_and_no_drawing_code():
    code = "import sys; from pipeline.core import params, registry; registry.load(params.SOURCES); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    modules = {name for name in loaded.split() if name.startswith("pipeline.sources")}
    assert modules == {"pipeline.sources", "pipeline.sources.source"} and "numpy" not in loaded.split()


def test_the_embedded_world_names_its_licences_with_their_addresses():
    fetch = in_turn()
    offers = listed(SyntheticParams(kind="synthetic", taxon="sinomacrops", good=3, clutter=2), fetch)
    assert len(offers) == 5 and not fetch.requests
    for candidate, content in offers:
        assert isinstance(content, bytes) and candidate.licence == candidate.licence_text
        assert candidate.licence_url.startswith("https://creativecommons.org/")


def test_a_taxon_that_the_embedded_world_does_not_have_is_one_sentence():
    with pytest.raises(ParamsError, match="did you mean 'sinomacrops'"):
        listed(SyntheticParams(kind="synthetic", taxon="sinomacrop", good=3, clutter=2), in_turn())
