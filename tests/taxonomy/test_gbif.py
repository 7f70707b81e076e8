"""GBIF: recorded responses of both versions of the API, and the ways in which a match is not the taxon."""

from __future__ import annotations

import pytest

from pipeline.core.errors import ServiceError
from pipeline.taxonomy import gbif
from tests.taxonomy.recorded import NOTHING, gbif_match, recording


def test_an_exact_match_of_version_1():
    value = recording("gbif/v1_species_match_name_Helianthus_annuus_strict_false_verbose_false_limit_100.json")
    found = gbif.read_match(value, "Helianthus annuus")
    (usage,) = found.exact
    assert (usage.key, usage.name, usage.rank, usage.phylum) == (
        9206251,
        "Helianthus annuus",
        "species",
        "Tracheophyta",
    )
    assert usage.path == ("Plantae", "Tracheophyta", "Magnoliopsida", "Asterales", "Asteraceae", "Helianthus")
    assert usage.match == "EXACT, confidence 99"


def test_version_2_is_read_the_same_with_its_keys_as_texts():
    one = recording("gbif/v1_species_match_name_Helianthus_annuus_strict_false_verbose_false_limit_100.json")
    two = recording("gbif/v2_species_match_scientificName_Helianthus_annuus_taxonRank_species_verbose_FALSE.json")
    assert gbif.read_match(one, "Helianthus annuus").exact == gbif.read_match(two, "Helianthus annuus").exact


def test_no_match_is_nothing():
    value = recording("gbif/v1_species_match_name_Aso_strict_false_verbose_false_limit_100.json")
    assert gbif.read_match(value, "Aso") == gbif.Match("NONE")


def test_a_synonym_names_what_is_accepted():
    value = recording("gbif/v2_species_match_scientificName_Anastrophyllum_minutum_verbose_FALSE.json")
    (usage,) = gbif.read_match(value, "Anastrophyllum minutum").exact
    assert (usage.reason, usage.accepted_key, usage.accepted) == ("synonym", 2689422, "Sphenolobus minutus")


def test_the_alternatives_of_a_wrong_kingdom_are_searched():
    value = recording("gbif/v2_species_match_scientificName_Calopteryx_splendens_kingdom_Plantae_verbose_TRUE.json")
    found = gbif.read_match(value, "Calopteryx splendens")
    assert found.kind == "HIGHERRANK" and found.nearest.name == "Calopteryx"
    assert [(usage.key, usage.phylum) for usage in found.exact] == [(1427067, "Arthropoda")]


def test_a_higher_rank_is_not_the_species():
    value = recording(
        "gbif/v2_species_match_scientificName_Calopteryx_splendens_kingdom_Plantae_strict_FALSE_verbose_.json"
    )
    found = gbif.read_match(value, "Calopteryx splendens")
    assert found.exact == () and found.nearest.rank == "genus"


def test_a_higher_rank_that_has_the_very_name_is_the_taxon():
    found = gbif.read_match(gbif_match(212, "Aves", "CLASS", matchType="HIGHERRANK"), "Aves")
    assert [usage.key for usage in found.exact] == [212]


def test_a_fuzzy_match_is_only_near():
    found = gbif.read_match(gbif_match(5, "Pteranodon longiceps", matchType="FUZZY"), "Pteranodon longicepts")
    assert found.exact == () and found.nearest.name == "Pteranodon longiceps"


def test_homonyms_are_the_alternatives_of_no_match():
    bird = gbif_match(5845582, "Chloris chloris", **{"class": "Aves", "order": "Passeriformes"})
    plant = gbif_match(11212714, "Chloris chloris", kingdom="Plantae", phylum="Tracheophyta")
    value = {**NOTHING, "note": "Multiple equal matches for Chloris chloris", "alternatives": [plant, bird]}
    assert [usage.key for usage in gbif.read_match(value, "Chloris chloris").exact] == [11212714, 5845582]


def test_one_taxon_under_several_authors_is_one():
    again = gbif_match(6, "Pteranodon", "GENUS", status="SYNONYM", acceptedUsageKey=5)
    value = {**gbif_match(5, "Pteranodon", "GENUS"), "alternatives": [again]}
    assert [usage.key for usage in gbif.read_match(value, "Pteranodon").exact] == [5]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"matchType": 7}, "'matchType' = 7"),
        ({"matchType": "SORT_OF"}, "'matchType' = 'SORT_OF'"),
        ({"usageKey": "V2"}, "'usageKey' = 'V2'"),
        ({"usageKey": True}, "'usageKey' = True"),
        ({"canonicalName": 5}, "'canonicalName' = 5"),
        ({"confidence": "high"}, "'confidence' = 'high'"),
        ({"alternatives": "none"}, "'alternatives'"),
        ({"usageKey": None}, "'usageKey'"),
    ],
)
def test_what_is_not_as_agreed_names_the_field(changes, named):
    with pytest.raises(ServiceError) as error:
        gbif.read_match({**gbif_match(5, "Pteranodon"), **changes}, "Pteranodon")
    assert named in str(error.value) and str(error.value).startswith("GBIF")


def test_a_key_may_be_a_text():
    assert gbif.read_match({**gbif_match(5, "Pteranodon"), "usageKey": "5"}, "Pteranodon").exact[0].key == 5


def test_a_recorded_taxon():
    usage = gbif.read_taxon(recording("gbif/v1_species_1_offset_0_limit_100.json"))
    assert (usage.key, usage.name, usage.rank, usage.is_accepted) == (1, "Animalia", "kingdom", True)


def test_recorded_synonyms():
    value = recording("gbif/v1_species_5135790_synonyms_offset_0_limit_100.json")
    assert gbif.synonym_names(value, "Acraea johnstoni") == ("Acraea semifulvescens", "Planema telekiana")


@pytest.mark.parametrize("value", [{"error": "overloaded"}, [], {"results": {"0": 1}}])
def test_an_error_in_place_of_a_list_is_raised(value):
    with pytest.raises(ServiceError, match="GBIF responded"):
        gbif.synonym_names(value, "Pteranodon")


def test_a_name_without_its_author():
    value = {**gbif_match(5, ""), "canonicalName": None, "scientificName": "Pteranodon longiceps Marsh, 1876"}
    assert gbif.read_match(value, "Pteranodon longiceps").exact[0].name == "Pteranodon longiceps"


def test_a_key_that_params_cannot_hold_is_an_error():
    value = recording(
        "gbif/v2_species_match_scientificName_Aves_verbose_FALSE_checklistKey_7ddf754f_d193_4cc9_b351_99.json"
    )
    with pytest.raises(ServiceError, match="'key' = 'V2', which is not an id"):
        gbif.read_match(value, "Aves")
