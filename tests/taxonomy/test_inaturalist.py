"""iNaturalist: the taxon of exactly that name, among those that its search offers."""

from __future__ import annotations

import pytest

from pipeline.core.errors import ServiceError
from pipeline.taxonomy import inaturalist
from tests.taxonomy.recorded import recording


def test_a_recorded_search_has_the_taxon():
    value = recording("inaturalist/v1_get_taxa.json")
    assert inaturalist.read_taxon(value, "Nicrophorus vespillo", "species") == inaturalist.Observed(131878, False)
    assert inaturalist.read_taxon(value, "Sinomacrops bondei", "species") is None


def test_of_two_of_one_name_the_one_of_the_rank_is_meant():
    value = {"results": [{"id": 1, "name": "Ficus", "rank": "subgenus"}, {"id": 2, "name": "Ficus", "rank": "genus"}]}
    assert inaturalist.read_taxon(value, "Ficus", "genus").key == 2


def test_an_error_is_raised():
    with pytest.raises(ServiceError, match="iNaturalist responded with an error: 'Too many requests'"):
        inaturalist.read_taxon({"error": "Too many requests", "status": 429}, "Ficus", "genus")
