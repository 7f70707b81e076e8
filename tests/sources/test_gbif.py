import pytest

from pipeline.core.errors import HttpError, ServiceError
from pipeline.core.records import Rejection
from pipeline.sources.gbif import GbifParams
from tests.sources.fake_fetch import FakeFetch, in_turn, listed, recorded, recordings, until_it_fails


def _source(**more) -> GbifParams:
    return GbifParams(kind="gbif", taxon_key=4967207, **more)


def _medium(number: int = 1, **more) -> dict:
    return {
        "type": "StillImage",
        "format": "image/jpeg",
        "identifier": f"https://museum.example/{number}.jpg",
        "references": f"https://museum.example/{number}",
        "creator": "Ada",
        "publisher": "Museum",
        "license": "http://creativecommons.org/licenses/by/4.0/legalcode",
        "title": "Wing",
        "description": "A wing",
        **more,
    }


def _record(key: int, *media: dict, **more) -> dict:
    return {
        "key": key,
        "basisOfRecord": "FOSSIL_SPECIMEN",
        "species": "Pteranodon longiceps",
        "media": list(media),
        "license": "http://creativecommons.org/licenses/by-nc/4.0/legalcode",
        **more,
    }


def _response(*records: dict, end: bool = True, offset: int = 0, limit: int = 300) -> dict:
    return {"offset": offset, "limit": limit, "endOfRecords": end, "count": 9, "results": list(records)}


def _one(medium: dict, **more):
    (offer,) = listed(_source(), in_turn(_response(_record(5, medium, **more))))
    return offer


def test_a_picture_has_the_licence_of_its_medium_and_not_of_its_record():
    candidate, content = _one(_medium())
    assert content is None
    assert (candidate.licence, candidate.licence_url) == ("CC-BY-4.0", "https://creativecommons.org/licenses/by/4.0/")
    assert _one(_medium(license=None))[0].licence == ""


def test_a_picture_is_described_as_fully_as_its_response_allows():
    candidate, _ = _one(_medium())
    assert candidate.source == "gbif:occurrences:4967207" and candidate.source_id.startswith("5/")
    assert candidate.image_url == "https://museum.example/1.jpg"
    assert candidate.page_url == "https://museum.example/1"
    assert (candidate.title, candidate.caption, candidate.author) == ("Wing", "A wing", "Ada")
    assert candidate.taxon == "Pteranodon longiceps" and candidate.evidence
    bare, _ = _one(
        {"identifier": "https://m.example/1.jpg", "rightsHolder": "Museum"}, species=None, scientificName="P."
    )
    assert (bare.author, bare.page_url, bare.taxon) == ("Museum", "https://www.gbif.org/occurrence/5", "P.")


@pytest.mark.parametrize(
    ("basis", "shows"),
    [("FOSSIL_SPECIMEN", "specimen"), ("PRESERVED_SPECIMEN", "specimen"), ("HUMAN_OBSERVATION", ""), (None, "")],
)
def test_fossils_and_museum_pieces_are_marked(basis, shows):
    assert _one(_medium(), basisOfRecord=basis)[0].shows == shows


@pytest.mark.parametrize(
    ("written", "licence"),
    [
        ("CC_BY_4_0", "CC-BY-4.0"),
        ("http://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("http://creativecommons.org/licenses/by-nc/4.0/", "CC-BY-NC-4.0"),
        ("CC BY-NC-ND", ""),
        ("All rights reserved", ""),
        ("© Museum, fetch first", ""),
    ],
)
def test_a_licence_that_cannot_be_named_stays_as_it_was_written(written, licence):
    candidate, content = _one(_medium(license=written))
    assert (candidate.licence, candidate.licence_text, content) == (licence, written, None)


@pytest.mark.parametrize(
    ("medium", "code"),
    [
        ({"type": "Sound", "format": "audio/mpeg"}, "not_a_picture"),
        ({"format": "text/html"}, "not_a_picture"),
        ({"format": "image/svg+xml"}, "not_a_picture"),
        ({"identifier": None}, "no_address"),
        ({"identifier": "DSC_0001.jpg"}, "no_address"),
        ({"identifier": "file:///C:/x.jpg"}, "no_address"),
    ],
)
def test_what_cannot_be_fetched_is_a_row(medium, code):
    _, refused = _one(_medium(**medium))
    assert isinstance(refused, Rejection) and refused.code == code


def test_pages_go_on_until_the_end_of_records():
    fetch = in_turn(
        _response(_record(1, _medium(1), _medium(2)), end=False, limit=2),
        _response(_record(2, _medium(3)), end=False, offset=2, limit=2),
        _response(_record(3, _medium(4)), offset=4, limit=2),
    )
    assert len(listed(_source(), fetch)) == 4
    assert fetch.requests[0].url == "https://api.gbif.org/v1/occurrence/search"
    assert fetch.queries[0] == {"taxonKey": "4967207", "mediaType": "StillImage", "limit": "300", "offset": "0"}
    assert [query["offset"] for query in fetch.queries] == ["0", "2", "4"]


def test_an_empty_page_is_an_end_too():
    assert listed(_source(), in_turn(_response(end=False))) == []


def test_the_names_of_pictures_stay_when_others_come_and_go():
    before = [c.source_id for c, _ in listed(_source(), in_turn(_response(_record(1, _medium(1), _medium(2)))))]
    after = [c.source_id for c, _ in listed(_source(), in_turn(_response(_record(1, _medium(2), _medium(3)))))]
    assert before[1] == after[0] and len({*before, *after}) == 3


def test_pictures_of_the_species_page():
    fetch = in_turn(_response(_medium(1, license="CC BY 4.0"), {**_medium(2), "references": None}, limit=2))
    first, second = listed(_source(media="species", limit=2), fetch)
    assert fetch.requests[0].url == "https://api.gbif.org/v1/species/4967207/media"
    assert fetch.queries == [{"limit": "2", "offset": "0"}]
    assert (first[0].source, first[0].licence, first[0].shows) == ("gbif:species:4967207", "CC-BY-4.0", "")
    assert second[0].page_url == "https://www.gbif.org/species/4967207"


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (HttpError("api.gbif.org responses 503", 503), "503"),
        (_response(_record(2), end=False, offset=0, limit=0), "never ends: it leads back to a page"),
        (_response(_record(1, _medium(9)), end=False, offset=99_900), "lists no more than 100000 records"),
        ({**_response(), "results": {"0": 1}}, "has changed: results should be a list, not a dict"),
        ({**_response(_record(1)), "endOfRecords": "no"}, "endOfRecords should be true or false, not a str"),
        (_response({**_record(2), "media": "x"}), "results[0].media should be a list, not a str"),
        (_response(_record(2, 7, "x")), "results[0].media[0] should be an object, not a int"),
    ],
)
def test_whatever_goes_wrong_on_the_second_page_the_first_is_kept(second, words):
    found, sentence = until_it_fails(_source(), in_turn(_response(_record(1, _medium()), end=False), second))
    assert found[0][0].source_id.startswith("1/") and words in sentence


def test_endless_pages_with_the_same_content_are_given_up():
    def reply(request):
        return _response(_record(1, _medium()), end=False, offset=int(dict(request.query)["offset"]), limit=1)

    fetch = FakeFetch(reply)
    found, sentence = until_it_fails(_source(), fetch)
    assert len(found) == 1 and len(fetch.requests) < 10 and "brought nothing new" in sentence


def test_one_malformed_record_among_others_is_a_row():
    offers = listed(_source(), in_turn(_response(_record(1, _medium()), _record(2, "x"))))
    assert [r and r.code for _, r in offers] == [None, "malformed_item"]
    assert offers[1][0].source_id == "2" and "results[1].media[0] should be an object" in offers[1][1].sentence


def test_every_recorded_list_of_occurrences_is_read():
    licences = set()
    for _, response in recordings("gbif/v1_occurrence_search_*.json"):
        if isinstance(response, dict):
            offers = listed(_source(), in_turn({**response, "endOfRecords": True}))
            assert all(c.image_url and c.taxon and c.page_url.startswith("http") for c, _ in offers)
            licences |= {(candidate.licence_text, candidate.licence) for candidate, _ in offers}
    assert ("http://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0") in licences and ("", "") in licences


def test_recorded_pictures_of_a_species_page_name_no_version_and_so_no_licence():
    offers = listed(
        _source(media="species"), in_turn(recorded("gbif/v1_species_5231190_media_offset_0_limit_100.json"))
    )
    assert offers and {(c.licence, c.licence_text) for c, _ in offers if "CC" in c.licence_text} <= {
        ("", "CC BY-NC-ND"),
        ("", "CC BY"),
    }


def _match(**fields) -> dict:
    return {"usageKey": 4818474, "canonicalName": "Dimorphodon", "matchType": "EXACT", **fields}


def test_a_name_is_looked_up_and_its_pictures_are_labelled_with_it():
    fetch = in_turn(_match(), _response(_record(5, _medium())))
    ((candidate, _),) = listed(GbifParams(kind="gbif", name="dimorphodon"), fetch)
    assert fetch.queries[0] == {"name": "dimorphodon", "strict": "true"}
    assert fetch.queries[1]["taxonKey"] == "4818474"
    assert candidate.source == "gbif:occurrences:dimorphodon"


@pytest.mark.parametrize(
    "match",
    [
        {"confidence": 100, "matchType": "NONE", "synonym": False},
        _match(canonicalName="Dimorphodontidae", matchType="HIGHERRANK"),
        _match(canonicalName="Dimorphodus", matchType="FUZZY"),
        _match(usageKey=None),
    ],
)
def test_only_exactly_the_name_is_taken(match):
    with pytest.raises(ServiceError, match="has no taxon 'Dimorphodon'.*taxon_key"):
        listed(GbifParams(kind="gbif", name="Dimorphodon"), in_turn(match))


def test_a_source_without_key_and_name_is_refused_where_params_are_read():
    with pytest.raises(ValueError, match="needs `taxon_key:` or `name:`"):
        GbifParams(kind="gbif")
