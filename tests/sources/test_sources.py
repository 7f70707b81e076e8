"""The registry: every kind that params.yaml may name has a walk, and the drawn world speaks as the others do."""

import pytest

from pipeline.core.errors import ParamsError
from pipeline.core.source_params import SyntheticSource, kind_names
from pipeline.sources import SOURCES
from tests.sources.asking import in_turn, listed


def test_every_kind_of_params_has_a_walk():
    assert set(SOURCES) == set(kind_names())


def test_the_drawn_world_names_its_licences_with_their_addresses():
    ask = in_turn()
    offers = listed(SyntheticSource(kind="synthetic", taxon="sinomacrops", good=3, clutter=2), ask)
    assert len(offers) == 5 and not ask.requests
    for candidate, content in offers:
        assert isinstance(content, bytes) and candidate.licence == candidate.licence_text
        assert candidate.licence_url.startswith("https://creativecommons.org/")


def test_a_taxon_that_the_drawn_world_does_not_know_is_one_sentence():
    with pytest.raises(ParamsError, match="did you mean 'sinomacrops'"):
        listed(SyntheticSource(kind="synthetic", taxon="sinomacrop", good=3, clutter=2), in_turn())
