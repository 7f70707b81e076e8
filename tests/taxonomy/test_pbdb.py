"""The Paleobiology Database: both vocabularies, placeholders, errors with status 200, types that change."""

from __future__ import annotations

import csv

import pytest

from pipeline.core.errors import ServiceError
from pipeline.taxonomy import pbdb
from tests.taxonomy.recorded import LADDER, SHARED, SINOMACROPS, SINOMACROPS_COMPACT, chain, pbdb_record, recording


def one(record: dict):
    return pbdb.usages({"elapsed_time": 0.01, "records": [record]})[0]


def test_both_vocabularies_are_read_the_same():
    assert one(SINOMACROPS) == one(SINOMACROPS_COMPACT)


def test_a_species_with_its_age_and_place():
    usage = one(SINOMACROPS)
    assert (usage.key, usage.name, usage.rank) == (438190, "Sinomacrops bondei", "species")
    assert usage.interval_ma == (165.3, 154.8)
    assert usage.path == ("Chordata", "Reptilia", "Pterosauria", "Anurognathidae", "Sinomacrops")
    assert usage.extant is False and usage.is_accepted


def test_ids_and_numbers_may_be_numbers_or_texts():
    same = {**SINOMACROPS, "orig_no": 438190, "accepted_no": "txn:438190", "firstapp_max_ma": "165.3"}
    assert one(same) == one(SINOMACROPS)


@pytest.mark.parametrize("rank", [3, "3", "species"])
def test_a_rank_is_a_number_or_a_word(rank):
    assert one({**SINOMACROPS_COMPACT, "rnk": rank}).rank == "species"


def test_placeholders_are_no_names():
    usage = one({**SINOMACROPS, "family": "NO_FAMILY_SPECIFIED", "order": "NO_ORDER_SPECIFIED"})
    assert usage.path == ("Chordata", "Reptilia", "Sinomacrops")


@pytest.mark.parametrize(
    ("value", "means"), [("extant", True), ("extinct", False), ("1", True), (0, False), ("", None), (None, None)]
)
def test_extant_is_read_in_every_notation(value, means):
    assert one({**SINOMACROPS, "is_extant": value}).extant is means


def test_a_name_that_is_not_accepted_has_a_reason_and_an_accepted_name():
    usage = one(
        {
            "oid": "txn:95806",
            "rnk": 3,
            "nam": "Pterodactylus ingens",
            "tdf": "nomen dubium",
            "acc": "txn:38502",
            "acr": 5,
            "acn": "Pteranodon",
        }
    )
    assert not usage.is_accepted and usage.reason == "nomen dubium"
    assert (usage.accepted_key, usage.accepted, usage.accepted_rank) == (38502, "Pteranodon", "genus")
    assert usage.is_narrower_than_accepted


def test_an_unknown_name_is_an_empty_list():
    assert pbdb.usages({"elapsed_time": 0.001, "warnings": ["no match"], "records": []}) == ()


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"status_code": 400, "errors": ["bad value for 'name'"]}, "bad value for 'name'"),
        ({"elapsed_time": 0.1}, "'records'"),
        ({"records": {"oid": "txn:1"}}, "'records'"),
        ({"records": ["txn:1"]}, "'records'"),
        ([], "'response'"),
        ({"records": [{**SINOMACROPS, "orig_no": "many"}]}, "'orig_no' = 'many'"),
        ({"records": [{**SINOMACROPS, "taxon_name": ["Sinomacrops"]}]}, "'taxon_name'"),
        ({"records": [{**SINOMACROPS, "firstapp_max_ma": {"max": 165.3}}]}, "'firstapp_max_ma'"),
        ({"records": [{**SINOMACROPS, "lastapp_min_ma": "old"}]}, "'lastapp_min_ma' = 'old'"),
        ({"records": [{**SINOMACROPS, "is_extant": "sometimes"}]}, "'is_extant' = 'sometimes'"),
        ({"records": [{"taxon_rank": "species"}]}, "'orig_no'"),
    ],
)
def test_what_is_not_as_agreed_names_the_field(value, named):
    with pytest.raises(ServiceError) as error:
        pbdb.usages(value)
    assert named in str(error.value) and "the Paleobiology Database" in str(error.value)


def test_a_text_from_outside_cannot_bring_a_second_line():
    assert one({**SINOMACROPS, "difference": "nomen\ndubium\x1b[31m: x"}).reason == "nomen dubium [31m: x"


def test_a_clade_path_follows_the_parents_whatever_the_order():
    records = [*chain(), {**SINOMACROPS}]
    for order in (records, records[::-1]):
        assert pbdb.classification({"records": order}, 438190) == LADDER[1:]
    assert pbdb.classification({"records": chain()}, 438190) == LADDER[1:], "the taxon itself need not be there"


def test_parents_in_a_circle_end():
    first, second = {"orig_no": 1, "taxon_name": "A", "parent_no": 2}, {"orig_no": 2, "taxon_name": "B", "parent_no": 1}
    assert pbdb.classification({"records": [first, second]}, 1) == ("B",)


def test_synonyms_leave_out_the_name_itself_and_misspellings():
    records = [
        pbdb_record(52932, "Pteranodon longiceps", "species"),
        pbdb_record(1, "Ornithostoma longiceps", "species", difference="recombined as"),
        pbdb_record(2, "Pteranodon longicepts", "species", difference="misspelling of, recombined as"),
    ]
    assert pbdb.synonym_names({"records": records}, "Pteranodon longiceps") == ("Ornithostoma longiceps",)


def test_requests_include_what_is_read():
    assert dict(pbdb.name_request("Sinomacrops bondei").query) == {
        "match_name": "Sinomacrops bondei",
        "show": "attr,app,parent,class,size",
        "vocab": "pbdb",
    }
    assert dict(pbdb.taxon_request(7).query)["id"] == "txn:7"
    assert dict(pbdb.similar_names_request("Sinomacrop bondei").query)["match_name"] == "Sinom% %"
    assert dict(pbdb.similar_names_request("Ornithocheiromorpha").query)["match_name"] == "Ornit%"


@pytest.mark.parametrize("show", ["coords", "asdf"])
def test_recorded_envelopes_are_read(show):
    value = recording(f"pbdb/occs_single_json_id_1_show_{show}.json")
    renamed = [{**record, "oid": record["tid"], "nam": record["tna"]} for record in value["records"]]
    usage = pbdb.usages({**value, "records": renamed})[0]
    assert (usage.key, usage.name, usage.rank) == (349412, "Australosutura llanoensis", "species")


def test_every_taxon_of_a_recorded_list_is_read():
    path = SHARED / "api/pbdb/taxa_list_Graptolithina_2019.csv"
    if not path.is_file():
        pytest.skip("the recorded responses are not here")
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    usages = pbdb.usages({"records": rows})
    assert len(usages) == 559
    assert not any(name.startswith("NO_") for usage in usages for name in usage.path)
    assert usages[0].extant is True and usages[0].interval_ma == (520.0, 339.4)


def test_every_occurrence_of_a_real_export_is_a_usage():
    path = SHARED / "pbdb/pbdb_pterosauromorpha.csv"
    if not path.is_file():
        pytest.skip("the recorded responses are not here")
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(lines[next(i for i, line in enumerate(lines) if line.startswith('"occurrence_no')) :]))
    taxa = [
        {
            **row,
            "orig_no": row["accepted_no"],
            "taxon_name": row["accepted_name"],
            "difference": "",
            "taxon_rank": row["accepted_rank"],
        }
        for row in rows
    ]
    usages = pbdb.usages({"records": taxa})
    assert len(usages) == 1153
    assert {usage.rank for usage in usages if usage.name == "Ornithocheiroidea"} == {"superfamily"}
    assert not any(usage.name == "Ornithocheiromorpha" for usage in usages)
