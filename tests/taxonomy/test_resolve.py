"""Name resolution: nothing similar, wider or merely called the same is ever taken for it."""

from __future__ import annotations

import pytest

from pipeline.core.errors import HttpError, InputError, ServiceError
from pipeline.taxonomy.resolve import resolve
from tests.taxonomy.recorded import LADDER, NOTHING, SINOMACROPS, chain, gbif_match, pbdb_record, script

PTERANODON = pbdb_record(38502, "Pteranodon", "genus")
ORNITHOCHEIROIDEA = pbdb_record(96501, "Ornithocheiroidea", "superfamily", firstapp_max_ma=145, lastapp_min_ma=66)
FAMILY = gbif_match(3240529, "Anurognathidae", "FAMILY", matchType="HIGHERRANK", confidence=90)


def records(*found: dict) -> dict:
    return {"elapsed_time": 0.01, "records": list(found)}


def known(**changes) -> dict:
    """Both authorities and iNaturalist know Sinomacrops bondei."""
    return {
        "pbdb Sinomacrops bondei": records(SINOMACROPS),
        "pbdb txn:438190 all_parents": records(*chain(), SINOMACROPS),
        "pbdb txn:438190 synonyms": records(SINOMACROPS),
        "gbif Sinomacrops bondei": gbif_match(11189152, "Sinomacrops bondei"),
        **changes,
    }


def test_both_authorities_are_used_and_quoted():
    taxon = resolve("Sinomacrops bondei", script(known()))
    assert (taxon.accepted, taxon.rank, taxon.pbdb, taxon.gbif) == ("Sinomacrops bondei", "species", 438190, 11189152)
    assert taxon.interval_ma == (165.3, 154.8)
    assert taxon.clade == LADDER[1:]
    assert taxon.extant is False
    assert taxon.findings == (
        "PBDB: Sinomacrops bondei, species, 165.3–154.8 Ma, txn:438190",
        "GBIF: Sinomacrops bondei, species, key 11189152 (EXACT, confidence 99)",
    )
    assert taxon.notes == ()


@pytest.mark.parametrize("typed", ["sinomacrops bondei", "  Sinomacrops   bondei "])
def test_spacing_and_case_are_no_misspelling(typed):
    assert resolve(typed, script(known())).name == "Sinomacrops bondei"


def test_a_synonym_keeps_its_name_and_notes_what_was_used():
    junior = pbdb_record(
        1,
        "Ornithocheiromorpha",
        "unranked clade",
        difference="subjective synonym of",
        accepted_no="96501",
        accepted_name="Ornithocheiroidea",
        accepted_rank="superfamily",
    )
    fetch = script(
        {
            "pbdb Ornithocheiromorpha": records(junior),
            "pbdb txn:96501": records(ORNITHOCHEIROIDEA),
            "pbdb txn:96501 synonyms": records(junior, ORNITHOCHEIROIDEA),
            "gbif Ornithocheiroidea": gbif_match(77, "Ornithocheiroidea", "SUPERFAMILY"),
        }
    )
    taxon = resolve("Ornithocheiromorpha", fetch)
    assert (taxon.name, taxon.accepted, taxon.rank) == ("Ornithocheiromorpha", "Ornithocheiroidea", "superfamily")
    assert (taxon.pbdb, taxon.gbif, taxon.interval_ma) == (96501, 77, (145.0, 66.0))
    assert taxon.synonyms == ("Ornithocheiromorpha",)
    assert taxon.findings[1] == "PBDB: Ornithocheiroidea, superfamily, 145–66 Ma, txn:96501"
    assert taxon.notes == (
        "Ornithocheiromorpha is not an accepted name in the Paleobiology Database (subjective synonym of); "
        "used Ornithocheiroidea (superfamily)",
    )


def test_a_synonym_of_gbif_only_is_followed_to_the_paleobiology_database():
    fetch = script(
        {
            "gbif Ornithostoma ingens": gbif_match(
                8, "Ornithostoma ingens", status="SYNONYM", acceptedUsageKey=9, species="Pteranodon longiceps"
            ),
            "gbif 9": {
                "key": 9,
                "canonicalName": "Pteranodon longiceps",
                "rank": "SPECIES",
                "taxonomicStatus": "ACCEPTED",
                "phylum": "Chordata",
            },
            "pbdb Pteranodon longiceps": records(pbdb_record(52932, "Pteranodon longiceps", "species")),
        }
    )
    taxon = resolve("Ornithostoma ingens", fetch)
    assert (taxon.accepted, taxon.pbdb, taxon.gbif) == ("Pteranodon longiceps", 52932, 9)
    assert "Ornithostoma ingens is not an accepted name in" in taxon.notes[0]
    assert "used Pteranodon longiceps (species)" in taxon.notes[0]


def test_a_doubtful_species_is_a_wider_taxon_with_a_note():
    dubious = pbdb_record(
        3,
        "Pterodactylus ingens",
        "species",
        difference="nomen dubium",
        accepted_no="38502",
        accepted_name="Pteranodon",
        accepted_rank="genus",
    )
    fetch = script({"pbdb Pterodactylus ingens": records(dubious), "pbdb txn:38502": records(PTERANODON)})
    taxon = resolve("Pterodactylus ingens", fetch)
    assert taxon.accepted == "Pteranodon"
    assert "(nomen dubium); used Pteranodon (genus), which is wider" in taxon.notes[0]


def test_the_age_of_a_synonym_is_not_that_of_the_accepted_taxon():
    junior = pbdb_record(
        3,
        "Ornithostoma ingens",
        "species",
        difference="subjective synonym of",
        accepted_no="38502",
        accepted_name="Pteranodon longiceps",
    )
    fetch = script({"pbdb Ornithostoma ingens": records(junior), "pbdb txn:38502": ServiceError("single.json is down")})
    taxon = resolve("Ornithostoma ingens", fetch)
    assert (taxon.accepted, taxon.pbdb, taxon.interval_ma) == ("Pteranodon longiceps", 38502, None)
    assert "left out: single.json is down" in taxon.findings


def test_a_higher_rank_never_passes_as_the_taxon():
    with pytest.raises(InputError) as error:
        resolve("Sinomacrops imaginarius", script({"gbif Sinomacrops imaginarius": FAMILY}))
    message = str(error.value)
    assert message.startswith("no authority has 'Sinomacrops imaginarius'")
    assert "the nearest it has is Anurognathidae, family (HIGHERRANK)" in message
    assert "did you mean" not in message


def test_a_higher_rank_is_left_out_where_the_other_authority_has_the_taxon():
    taxon = resolve("Sinomacrops bondei", script(known(**{"gbif Sinomacrops bondei": FAMILY})))
    assert (taxon.pbdb, taxon.gbif) == (438190, None)
    assert taxon.notes == ("known to the Paleobiology Database only",)
    assert "HIGHERRANK" in taxon.findings[1]


def test_a_fuzzy_match_is_offered_and_not_taken():
    fuzzy = gbif_match(11189152, "Sinomacrops bondei", matchType="FUZZY", confidence=95)
    with pytest.raises(InputError, match="did you mean 'Sinomacrops bondei'"):
        resolve("Sinomacrop bondei", script({"gbif Sinomacrop bondei": fuzzy}))


def test_a_misspelling_that_the_paleobiology_database_lists_is_refused_too():
    wrong = pbdb_record(
        9, "Pteranodont", "genus", difference="misspelling of", accepted_no="38502", accepted_name="Pteranodon"
    )
    with pytest.raises(InputError, match=r"did you mean 'Pteranodon' \(genus\)\? Write that.*--pbdb 38502"):
        resolve("Pteranodont", script({"pbdb Pteranodont": records(wrong)}))


def test_a_misspelling_of_one_taxon_may_be_the_name_of_another():
    beetle = pbdb_record(71894, "Dascyllus", "genus", difference="misspelling of", accepted_name="Dascillus")
    fish = pbdb_record(35000, "Dascyllus", "genus")
    assert resolve("Dascyllus", script({"pbdb Dascyllus": records(beetle, fish)})).pbdb == 35000


def test_an_unlisted_misspelling_is_compared_with_similar_names():
    fetch = script({"pbdb Sinom% %": records(SINOMACROPS, pbdb_record(8, "Sinomylus zhaii", "species"))})
    with pytest.raises(InputError, match="did you mean 'Sinomacrops bondei'"):
        resolve("Sinomacrops bondii", fetch)


def test_an_unknown_taxon_is_one_clear_sentence():
    with pytest.raises(InputError) as error:
        resolve("Nonsensia absurda", script({}))
    assert str(error.value) == (
        "no authority has 'Nonsensia absurda' (PBDB: has no 'Nonsensia absurda'; GBIF: has no 'Nonsensia absurda'); "
        "check the spelling"
    )


def test_what_cannot_be_a_name_is_not_requested():
    fetch = script({})
    for name in ("T. rex", "Sinomacrops%", "", "42", "Pteranodon, Marsh 1876", "a&b=c"):
        with pytest.raises(InputError, match="no name of a taxon"):
            resolve(name, fetch)
    assert fetch.requested == []


def test_homonyms_are_listed_with_the_way_to_choose():
    fig = pbdb_record(54000, "Ficus", "genus", phylum="Tracheophyta", order="Rosales")
    snail = pbdb_record(10000, "Ficus", "genus", phylum="Mollusca", order="Littorinimorpha")
    fetch = script({"pbdb Ficus": records(fig, snail), "pbdb txn:10000": records(snail)})
    with pytest.raises(InputError) as error:
        resolve("Ficus", fetch)
    assert "'Ficus' is the name of several taxa; choose one:" in str(error.value)
    assert "--pbdb 54000" in str(error.value) and "--pbdb 10000" in str(error.value)
    assert "Tracheophyta > " in str(error.value) and "Mollusca > " in str(error.value)
    assert resolve("Ficus", fetch, pbdb_key=10000).pbdb == 10000


def test_homonyms_of_gbif_are_distinguished_by_the_other_authority():
    plant = gbif_match(1, "Chloris chloris", kingdom="Plantae", phylum="Tracheophyta")
    bird = gbif_match(2, "Chloris chloris", **{"class": "Aves", "order": "Passeriformes"})
    several = {"gbif Chloris chloris": {**NOTHING, "alternatives": [plant, bird]}}
    finch = pbdb_record(5, "Chloris chloris", "species", **{"class": "Aves", "order": "Passeriformes"})
    taxon = resolve("Chloris chloris", script({**several, "pbdb Chloris chloris": records(finch)}))
    assert taxon.gbif == 2
    assert "one of 2 taxa of this name" in taxon.findings[1]
    with pytest.raises(InputError, match=r"(?s)--gbif 1.*--gbif 2"):
        resolve("Chloris chloris", script(several))


def test_one_name_in_two_phyla_takes_a_choice():
    fetch = script(known(**{"gbif Sinomacrops bondei": gbif_match(1, "Sinomacrops bondei", phylum="Arthropoda")}))
    with pytest.raises(InputError, match=r"(?s)several taxa.*--pbdb 438190.*--gbif 1"):
        resolve("Sinomacrops bondei", fetch)
    taxon = resolve("Sinomacrops bondei", script({**fetch.responses, "pbdb txn:438190": records(SINOMACROPS)}), 438190)
    assert (taxon.pbdb, taxon.gbif) == (438190, None)
    assert "GBIF has another taxon of this name (Arthropoda); it was not used" in taxon.notes


def test_an_id_gives_a_name_of_ones_own_to_a_known_taxon():
    fetch = script(
        {
            "pbdb txn:96501": records(ORNITHOCHEIROIDEA),
            "gbif Ornithocheiroidea": gbif_match(77, "Ornithocheiroidea", "SUPERFAMILY"),
        }
    )
    taxon = resolve("Ornithocheiromorpha", fetch, pbdb_key=96501)
    assert (taxon.name, taxon.accepted, taxon.gbif) == ("Ornithocheiromorpha", "Ornithocheiroidea", 77)
    assert "is not an accepted name in the Paleobiology Database (chosen by its id txn:96501)" in taxon.notes[0]


@pytest.mark.parametrize(("key", "message"), [({"pbdb_key": 5}, "txn:5"), ({"gbif_key": 5}, "key 5")])
def test_an_unknown_id_is_an_error(key, message):
    with pytest.raises(InputError, match=f"has no taxon {message}"):
        resolve("Ornithocheiromorpha", script({"pbdb txn:5": HttpError("not found", 404)}), **key)


@pytest.mark.parametrize(
    "trouble", [HttpError("paleobiodb.org responded 400: bad name", 400), ServiceError("paleobiodb.org is not there")]
)
def test_one_authority_that_fails_is_reported_and_the_other_is_used(trouble):
    taxon = resolve("Sinomacrops bondei", script(known(**{"pbdb Sinomacrops bondei": trouble})))
    assert (taxon.pbdb, taxon.gbif) == (None, 11189152)
    assert taxon.findings[0] == f"PBDB: no usable response ({trouble})"
    assert taxon.notes == ("known to GBIF only; no usable response from the Paleobiology Database",)
    assert taxon.clade == ("Animalia", "Chordata", "Reptilia", "Pterosauria")


def test_an_response_of_another_shape_is_a_failure_that_names_the_field():
    broken = records({**SINOMACROPS, "orig_no": ["438190"]})
    taxon = resolve("Sinomacrops bondei", script(known(**{"pbdb Sinomacrops bondei": broken})))
    assert "'orig_no' = ['438190'], which is not an id" in taxon.findings[0]


def test_a_name_is_not_unknown_while_an_authority_fails():
    fetch = script({"pbdb Sinomacrops bondei": ServiceError("paleobiodb.org is not there")})
    with pytest.raises(ServiceError, match="was not found where there was a response.*try again later"):
        resolve("Sinomacrops bondei", fetch)


def test_without_any_authority_there_is_an_error():
    fetch = script(
        {"pbdb Sinomacrops bondei": ServiceError("one is down"), "gbif Sinomacrops bondei": ServiceError("two is down")}
    )
    with pytest.raises(ServiceError, match="one is down; two is down"):
        resolve("Sinomacrops bondei", fetch)


def test_details_that_fail_are_left_out_and_reported():
    broken = {
        "pbdb txn:438190 all_parents": ServiceError("parents are down"),
        "gbif 11189152 synonyms": {"error": "overloaded"},
    }
    taxon = resolve("Sinomacrops bondei", script(known(**broken)))
    assert taxon.clade == ("Animalia", "Chordata", "Reptilia", "Pterosauria")
    assert "left out: parents are down" in taxon.findings
    assert "left out: GBIF responded with an error: 'overloaded'" in taxon.findings


@pytest.mark.parametrize(
    ("extinct", "pbdb_says", "extant"), [(False, "", True), (True, "", False), (False, "extinct", False)]
)
def test_extant_is_that_of_the_first_authority_that_states_it(extinct, pbdb_says, extant):
    seen = {
        "results": [
            {"id": 4, "name": "Sinomacrops", "rank": "genus"},
            {"id": 7, "name": "Sinomacrops bondei", "rank": "species", "extinct": extinct},
        ]
    }
    responses = known(**{"inat Sinomacrops bondei": seen})
    responses["pbdb Sinomacrops bondei"] = records({**SINOMACROPS, "is_extant": pbdb_says})
    taxon = resolve("Sinomacrops bondei", script(responses))
    assert taxon.observed.key == 7 and taxon.extant is extant
