import pytest

from pipeline.core.errors import HttpError
from pipeline.core.records import Rejection
from pipeline.sources.inaturalist import INaturalistParams
from tests.sources.fake_fetch import FakeFetch, in_turn, listed, recorded, until_it_fails

DEAD, ALIVE = (
    {"controlled_attribute_id": 17, "controlled_value_id": 19},
    {"controlled_attribute_id": 17, "controlled_value_id": 18},
)
ORGANISM, BONE, TRACK = ({"controlled_attribute_id": 22, "controlled_value_id": value} for value in (24, 27, 26))


def _source(**more) -> INaturalistParams:
    return INaturalistParams(kind="inaturalist", taxon_id=48662, **more)


def _photo(number: int, **more) -> dict:
    return {
        "id": number,
        "license_code": "cc-by",
        "attribution": "(c) Ada L., some rights reserved (CC BY)",
        "flags": [],
        "url": f"https://inaturalist-open-data.s3.amazonaws.com/photos/{number}/square.jpeg?1536150664",
        **more,
    }


def _observation(number: int, *photos: dict, **more) -> dict:
    return {
        "id": number,
        "photos": list(photos) or [_photo(number * 10)],
        "license_code": "cc0",
        "annotations": [],
        "taxon": {"name": "Danaus plexippus", "preferred_common_name": "Monarch"},
        "description": "On <b>milkweed</b>",
        "user": {"login": "ada", "name": "Ada L."},
        **more,
    }


def _response(*observations: dict, total: int | None = None) -> dict:
    return {"total_results": len(observations) if total is None else total, "page": 1, "results": list(observations)}


def _one(**more):
    (offer,) = listed(_source(), in_turn(_response(_observation(1, _photo(10, **more)))))
    return offer


def test_a_photograph_is_described_as_fully_as_its_response_allows():
    candidate, content = _one()
    assert content is None
    assert (candidate.source, candidate.source_id) == ("inaturalist:48662", "10")
    assert candidate.image_url == "https://inaturalist-open-data.s3.amazonaws.com/photos/10/large.jpeg?1536150664"
    assert candidate.page_url == "https://www.inaturalist.org/photos/10"
    assert (candidate.title, candidate.taxon, candidate.caption) == ("Monarch", "Danaus plexippus", "On milkweed")
    assert (candidate.author, candidate.author_url) == ("Ada L.", "https://www.inaturalist.org/people/ada")
    assert (candidate.licence, candidate.licence_text) == ("CC-BY-4.0", "cc-by")


@pytest.mark.parametrize(
    ("code", "licence"),
    [("cc-by-nc-sa", "CC-BY-NC-SA-4.0"), ("cc0", "CC0-1.0"), ("pd", "PDM-1.0"), ("gfdl", ""), (None, "")],
)
def test_the_licence_is_that_of_the_photograph_and_null_is_none(code, licence):
    assert _one(license_code=code)[0].licence == licence


def test_all_rights_reserved_is_kept_as_it_was_written():
    assert _one(license_code=None, attribution="(c) Ada, all rights reserved")[0].licence_text.endswith("reserved")


@pytest.mark.parametrize(
    ("annotations", "shows"),
    [
        ([], ""),
        ([ALIVE, ORGANISM], ""),
        ([DEAD], "specimen"),
        ([BONE], "specimen"),
        ([TRACK, ALIVE], "specimen"),
        ([BONE, ORGANISM], ""),
        ([{"controlled_attribute_id": 1, "controlled_value_id": 27}], ""),
    ],
)
def test_bones_tracks_and_the_dead_are_marked(annotations, shows):
    ((candidate, _),) = listed(_source(), in_turn(_response(_observation(1, annotations=annotations))))
    assert candidate.shows == shows


@pytest.mark.parametrize(
    ("photo", "code"),
    [
        ({"flags": [{"flag": "copyright infringement", "resolved": False}]}, "flagged_upstream"),
        ({"hidden": True}, "flagged_upstream"),
        ({"flags": [{"flag": "spam", "resolved": True}]}, None),
        ({"url": None}, "no_address"),
    ],
)
def test_what_is_flagged_or_hidden_is_not_fetched(photo, code):
    _, refused = _one(**photo)
    assert (refused.code if isinstance(refused, Rejection) else refused) == code


def test_pages_go_on_above_the_last_observation_and_never_by_number():
    fetch = in_turn(
        _response(_observation(1), _observation(7, _photo(70), _photo(71)), total=3),
        _response(_observation(9), total=1),
    )
    assert [candidate.source_id for candidate, _ in listed(_source(), fetch)] == ["10", "70", "71", "90"]
    assert fetch.requests[0].url == "https://api.inaturalist.org/v1/observations"
    assert [query["id_above"] for query in fetch.queries] == ["0", "7"]
    assert all("page" not in query for query in fetch.queries)
    assert fetch.queries[0] | {"id_above": "0"} == {
        "taxon_id": "48662",
        "photos": "true",
        "photo_licensed": "true",
        "per_page": "200",
        "order_by": "id",
        "order": "asc",
        "id_above": "0",
    }


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (HttpError("api.inaturalist.org responses 403: Result window is too large", 403), "Result window is too large"),
        ({"error": "Result window is too large", "status": 403}, "responded with an error: Result window is too large"),
        (_response(_observation(1), total=99), "never ends: it leads back to a page"),
        ({"total_results": 9, "results": "none"}, "results should be a list, not a str"),
        (_response(_observation(2, _photo(20, license_code=["cc-by"]))), "photos[0].license_code should be a text"),
        (_response({**_observation(2), "annotations": {}}), "results[0].annotations should be a list, not a dict"),
    ],
)
def test_whatever_goes_wrong_on_the_second_page_the_first_is_kept(second, words):
    found, sentence = until_it_fails(_source(), in_turn(_response(_observation(1), total=9), second))
    assert found[0][0].source_id == "10" and words in sentence


def test_numbers_that_rise_without_end_end_at_the_limit():
    fetch = FakeFetch(lambda request: _response(_observation(int(dict(request.query)["id_above"]) + 1), total=10**9))
    assert len(listed(_source(limit=5), fetch)) == 5 and len(fetch.requests) == 5


def test_one_malformed_photograph_among_others_is_a_row():
    observation = _observation(1, _photo(10), {"id": 11, "url": 5, "flags": "none"})
    offers = listed(_source(), in_turn(_response(observation)))
    assert [r and r.code for _, r in offers] == [None, "malformed_item"] and offers[1][0].source_id == "11"


@pytest.mark.parametrize(
    ("page", "licence", "text"),
    [("page1", "CC-BY-NC-4.0", "cc-by-nc"), ("page2", "", "(c) ingridt3, all rights reserved")],
)
def test_recorded_observations_are_read(page, licence, text):
    response = recorded(f"inaturalist/v1_get_observations_{page}.json")
    ((candidate, _),) = listed(_source(), in_turn({**response, "total_results": 0}))
    assert (candidate.licence, candidate.licence_text) == (licence, text) and "/large." in candidate.image_url


def test_a_recorded_403_in_a_body_is_one_sentence():
    _, sentence = until_it_fails(_source(), in_turn(recorded("inaturalist/v1_observations_past_10000_403.json")))
    assert sentence.startswith("api.inaturalist.org responded with an error: Result window is too large")
