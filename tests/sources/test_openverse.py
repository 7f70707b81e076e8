import pytest

from pipeline.core.errors import HttpError
from pipeline.core.records import Rejection, Request
from pipeline.sources.openverse import OpenverseParams, token_request
from tests.sources.fake_fetch import FakeFetch, in_turn, listed, recorded, recordings, until_it_fails


def _source(**more) -> OpenverseParams:
    return OpenverseParams(kind="openverse", query="pteranodon", **more)


def _picture(number: int, **more) -> dict:
    return {
        "id": f"id-{number}",
        "title": "Pteranodon",
        "creator": "Ada",
        "creator_url": "https://www.flickr.com/photos/ada",
        "foreign_landing_url": f"https://www.flickr.com/photos/ada/{number}",
        "provider": "flickr",
        "source": "flickr",
        "url": f"https://live.staticflickr.com/{number}_b.jpg",
        "license": "by-sa",
        "license_version": "2.0",
        "license_url": "https://creativecommons.org/licenses/by-sa/2.0/",
        "category": None,
        "tags": [{"name": "x"}],
        **more,
    }


def _response(*pictures: dict, page: int = 1, pages: int = 1) -> dict:
    return {"result_count": 99, "page_count": pages, "page_size": 20, "page": page, "results": list(pictures)}


def test_a_picture_is_described_by_its_own_page():
    ((candidate, content),) = listed(_source(), in_turn(_response(_picture(1))))
    assert content is None
    assert (candidate.source, candidate.source_id) == ("openverse:pteranodon", "id-1")
    assert candidate.image_url == "https://live.staticflickr.com/1_b.jpg"
    assert candidate.page_url == "https://www.flickr.com/photos/ada/1"
    assert (candidate.author, candidate.author_url) == ("Ada", "https://www.flickr.com/photos/ada")
    assert (candidate.licence, candidate.licence_text) == ("CC-BY-SA-2.0", "by-sa 2.0")
    assert candidate.evidence


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ({"license": "by", "license_version": "4.0", "license_url": None}, "CC-BY-4.0"),
        ({"license": "pdm", "license_version": "1.0", "license_url": None}, "PDM-1.0"),
        ({"license": "cc0", "license_version": "1.0", "license_url": ""}, "CC0-1.0"),
        (
            {
                "license": "by-nc-nd",
                "license_version": "2.0",
                "license_url": "https://creativecommons.org/licenses/by-nd-nc/2.0/jp/",
            },
            "CC-BY-NC-ND-2.0-JP",
        ),
        ({"license": "sampling+", "license_version": "1.0", "license_url": None}, ""),
        ({"license": "by", "license_version": None, "license_url": None}, ""),
        ({"license": None, "license_version": None, "license_url": None}, ""),
    ],
)
def test_the_licence_comes_with_its_version(fields, licence):
    assert listed(_source(), in_turn(_response(_picture(1, **fields))))[0][0].licence == licence


def test_pages_are_requested_as_long_as_there_are_some():
    fetch = in_turn(_response(_picture(1), pages=2), _response(_picture(2), page=2, pages=2))
    assert len(listed(_source(category="illustration"), fetch)) == 2
    assert fetch.requests[0].url == "https://api.openverse.org/v1/images/" and not fetch.requests[0].authorization
    assert fetch.queries[0] == {
        "q": "pteranodon",
        "category": "illustration",
        "filter_dead": "true",
        "page_size": "20",
        "page": "1",
    }
    assert fetch.queries[1] == {**fetch.queries[0], "page": "2"}


def test_a_client_requests_a_token_and_larger_pages():
    fetch = in_turn({"access_token": "t0ken", "token_type": "Bearer", "expires_in": 36000}, _response(_picture(1)))
    assert len(listed(_source(limit=900), fetch, credentials=("me", "secret"))) == 1
    token, search = fetch.requests
    assert token == Request(
        "https://api.openverse.org/v1/auth_tokens/token/",
        form=(("grant_type", "client_credentials"), ("client_id", "me"), ("client_secret", "secret")),
        fresh=True,
    )
    assert search.authorization == "Bearer t0ken" and dict(search.query)["page_size"] == "500"


def test_secrets_are_in_no_message():
    request = Request("https://x.org", form=token_request("me", "s3cret").form, authorization="Bearer s3cret")
    assert "s3cret" not in repr(request)


def test_credentials_that_are_refused_are_one_sentence():
    refused = HttpError("api.openverse.org responses 401", 401)
    with pytest.raises(HttpError, match="401"):
        listed(_source(), in_turn(refused), credentials=("me", "wrong"))
    with pytest.raises(Exception, match="gave no access token; check the credentials"):
        listed(_source(), in_turn({"token_type": "Bearer"}), credentials=("me", "wrong"))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"url": None}, "no_address"),
        ({"url": "ftp://example.org/x.jpg"}, "no_address"),
        ({"url": "https://upload.wikimedia.org/x.svg"}, "not_a_picture"),
        ({"filetype": "svg"}, "not_a_picture"),
    ],
)
def test_what_cannot_be_fetched_is_a_row(fields, code):
    ((_, refused),) = listed(_source(), in_turn(_response(_picture(1, **fields))))
    assert isinstance(refused, Rejection) and refused.code == code


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"detail": "Request was throttled."}, "api.openverse.org responded with an error: Request was throttled."),
        (HttpError("api.openverse.org: today's requests are used up", 429), "used up"),
        ({"page": 2, "page_count": 9}, "the response of api.openverse.org has changed: it has no 'results'"),
        (_response(_picture(2), page=1, pages=9), "the list of openverse:pteranodon never ends: it leads back"),
        (_response({"id": 1, "url": []}, page=2), "has changed: results[0].url should be a text, not a list"),
        ([1], "the response of api.openverse.org has changed: it should be an object, not a list"),
    ],
)
def test_whatever_goes_wrong_on_the_second_page_the_first_is_kept(second, words):
    found, sentence = until_it_fails(_source(), in_turn(_response(_picture(1), pages=9), second))
    assert found[0][0].source_id == "id-1" and words in sentence


def test_endless_pages_with_the_same_content_are_given_up():
    fetch = FakeFetch(lambda request: _response(_picture(1), page=int(dict(request.query)["page"]), pages=10**6))
    found, sentence = until_it_fails(_source(), fetch)
    assert len(found) == 1 and len(fetch.requests) < 10 and "brought nothing new" in sentence


def test_every_recorded_list_is_read():
    count = 0
    for _, response in recordings("openverse/images_q_*.json"):
        offers = listed(_source(), in_turn({**response, "page_count": 1}))
        assert len(offers) == len({picture["id"] for picture in response["results"]})
        assert all(candidate.licence and candidate.page_url for candidate, _ in offers)
        count += len(offers)
    assert count > 200


def test_a_recorded_search_without_a_result_offers_nothing():
    assert listed(_source(), in_turn(recorded("openverse/images_q_243f6a8885a308d3__b.json"))) == []
