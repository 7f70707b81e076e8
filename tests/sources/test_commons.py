import hashlib
import json

import pytest

from pipeline.core.errors import HttpError, ParamsError
from pipeline.core.records import Rejection
from pipeline.sources import commons
from pipeline.sources.commons import CommonsParams
from tests.sources.fake_fetch import FakeFetch, in_turn, listed, recorded, recordings, until_it_fails

UPLOADS = "https://upload.wikimedia.org/wikipedia/commons"


def _source(**more) -> CommonsParams:
    return CommonsParams(kind="commons", **({"category": "Pterosauria"} | more))


def _file(pageid: int, name: str = "", *, fields: dict | None = None, **info) -> dict:
    """A file as the API describes it."""
    name = name or f"Picture {pageid}.jpg"
    facts = {
        "License": "cc-by-sa-4.0",
        "LicenseShortName": "CC BY-SA 4.0",
        "Artist": '<a href="//x.org/ada">Ada</a>',
        "LicenseUrl": "https://creativecommons.org/licenses/by-sa/4.0",
        "ImageDescription": "A <i>Pteranodon</i>",
        **(fields or {}),
    }
    about = {
        "url": f"{UPLOADS}/a/ab/{name.replace(' ', '_')}",
        "width": 800,
        "height": 600,
        "size": 9,
        "user": "Uploader",
        "descriptionurl": f"https://commons.wikimedia.org/wiki/File:{name.replace(' ', '_')}",
        "extmetadata": {key: {"value": value, "source": "x"} for key, value in facts.items() if value is not None},
        **info,
    }
    return {"pageid": pageid, "ns": 6, "title": f"File:{name}", "imageinfo": [about]}


def _category(pageid: int, name: str) -> dict:
    return {"pageid": pageid, "ns": 14, "title": f"Category:{name}"}


def _response(*pages: dict, **more) -> dict:
    return {"batchcomplete": True, "query": {"pages": list(pages)}, **more}


def _one(page: dict, **more):
    """What becomes of one file."""
    (offer,) = listed(_source(**more), in_turn(_response(page)))
    return offer


def _tree(**members: list[dict]) -> FakeFetch:
    return FakeFetch(lambda request: _response(*members[dict(request.query)["gcmtitle"].removeprefix("Category:")]))


def _names(offers) -> list[str]:
    return [candidate.title for candidate, _ in offers]


def test_the_request_holds_everything_that_the_response_depends_on():
    fetch = in_turn(_response())
    assert listed(_source(category="Category:Pterosaur_art"), fetch) == []
    (query,) = fetch.queries
    assert fetch.requests[0].url == "https://commons.wikimedia.org/w/api.php"
    assert (query["generator"], query["gcmtitle"]) == ("categorymembers", "Category:Pterosaur art")
    assert (query["maxlag"], query["gcmlimit"], query["iiurlwidth"]) == ("5", "50", "1920")
    assert query["gcmtype"] == "file|subcat" and "extmetadata" in query["iiprop"]


def test_a_file_is_described_as_fully_as_its_response_allows():
    fetch = in_turn(response := _response(_file(7, "Pteranodon_by Ada.v2.jpg")))
    ((candidate, content),) = listed(_source(), fetch)
    assert content is None
    assert (candidate.source, candidate.source_id) == ("commons:Pterosauria", "7")
    assert candidate.image_url == f"{UPLOADS}/a/ab/Pteranodon_by_Ada.v2.jpg"
    assert candidate.page_url == "https://commons.wikimedia.org/wiki/File:Pteranodon_by_Ada.v2.jpg"
    assert (candidate.title, candidate.caption) == ("Pteranodon by Ada.v2", "A Pteranodon")
    assert (candidate.author, candidate.author_url) == ("Ada", "https://x.org/ada")
    assert (candidate.licence, candidate.licence_text) == ("CC-BY-SA-4.0", "CC BY-SA 4.0")
    assert candidate.licence_url == "https://creativecommons.org/licenses/by-sa/4.0/"
    assert candidate.evidence == hashlib.sha256(json.dumps(response).encode()).hexdigest()


def test_public_domain_without_a_licence_url_is_kept():
    fields = {"License": "pd", "LicenseShortName": "Public domain", "LicenseUrl": None, "UsageTerms": "Public domain"}
    candidate, content = _one(_file(1, fields=fields))
    assert content is None
    assert (candidate.licence, candidate.licence_text) == ("PDM-1.0", "Public domain")
    assert candidate.licence_url == "https://creativecommons.org/publicdomain/mark/1.0/"


@pytest.mark.parametrize(
    ("fields", "licence", "text"),
    [
        ({"License": None, "LicenseShortName": "No restrictions", "LicenseUrl": None}, "", "No restrictions"),
        ({"License": None, "LicenseShortName": None, "LicenseUrl": None}, "", ""),
        ({"License": None, "LicenseShortName": None}, "CC-BY-SA-4.0", "https://creativecommons.org/licenses/by-sa/4.0"),
        ({"License": "never-seen", "LicenseShortName": "Never", "LicenseUrl": None}, "", "Never"),
        (
            {
                "License": "cc-by-sa-3.0-de",
                "LicenseShortName": "CC BY-SA 3.0 de",
                "LicenseUrl": "https://creativecommons.org/licenses/by-sa/3.0/de/deed.en",
            },
            "CC-BY-SA-3.0-DE",
            "CC BY-SA 3.0 de",
        ),
    ],
)
def test_the_licence_is_that_of_the_file_itself(fields, licence, text):
    candidate, _ = _one(_file(1, fields=fields))
    assert (candidate.licence, candidate.licence_text) == (licence, text)


@pytest.mark.parametrize(
    ("fields", "author"),
    [
        ({"Artist": None, "Attribution": "<b>Museum</b> of X"}, "Museum of X"),
        ({"Artist": None, "Credit": '<span class="int-own-work" lang="de">Eigenes Werk</span>'}, "Uploader"),
        ({"Artist": None, "Credit": "Flickr"}, ""),
        ({"Artist": '<div class="fn value"><span lang="en">Unknown</span></div>'}, "Unknown"),
    ],
)
def test_the_author_is_never_just_whoever_uploaded(fields, author):
    assert _one(_file(1, fields=fields))[0].author == author


def test_a_wide_original_is_taken_as_the_thumbnail_that_was_offered():
    thumb = "https://thumb.wikimedia.org/any/where/1920px-x.jpg?y=1"
    assert _one(_file(1, width=6000, thumburl=thumb))[0].image_url == thumb
    assert _one(_file(1, width=1920, thumburl=thumb))[0].image_url.endswith("Picture_1.jpg")
    assert _one(_file(1, width=6000))[0].image_url.endswith("Picture_1.jpg")


def test_drawings_and_scans_are_taken_as_bitmaps():
    thumb = f"{UPLOADS}/thumb/x.svg/500px-x.svg.png"
    assert _one(_file(1, "x.svg", thumburl=thumb))[0].image_url == thumb
    assert _one(_file(1, "x.tif", thumburl=f"{UPLOADS}/x.tif.jpg"))[0].image_url.endswith("x.tif.jpg")
    assert _one(_file(1, "x.tif"))[0].image_url.endswith("x.tif")


@pytest.mark.parametrize("name", ["call.ogg", "x.pdf", "x.djvu", "x.webm", "x.svg", "x.stl"])
def test_what_is_no_picture_is_not_fetched(name):
    thumb = {} if name == "x.svg" else {"thumburl": f"{UPLOADS}/thumb/{name}/page1-500px.jpg"}
    candidate, refused = _one(_file(1, name, **thumb))
    assert candidate.image_url == "" and isinstance(refused, Rejection)
    assert refused.code == "not_a_picture" and repr(f".{name.rpartition('.')[2]}") in refused.sentence


def test_red_links_and_lost_files_are_rows():
    red = {"ns": 6, "title": "File:Gone.jpg", "missing": True}
    lost = {**_file(3), "imageinfo": [{"filemissing": True}]}
    bare = {**_file(4), "imageinfo": [{"descriptionurl": "https://commons.wikimedia.org/wiki/File:X"}]}
    offers = listed(_source(), in_turn(_response(red, lost, bare, _file(5))))
    assert {c.source_id: r and r.code for c, r in offers} == {
        "File:Gone.jpg": "file_missing",
        "3": "file_missing",
        "4": "no_address",
        "5": None,
    }


@pytest.mark.parametrize(
    ("name", "categories", "shows"),
    [
        ("A.jpg", "Pterosaur fossils in Germany|CC-Zero", "specimen"),
        ("A.jpg", "Dorygnathus skulls", "specimen"),
        ("Myotis blythii - skull.jpeg", "CC-Zero", "specimen"),
        ("A.jpg", "Holotypes|Paleoart of pterosaurs", ""),
        ("A.jpg", "Living fossils", ""),
        ("Skullcap on a table.jpg", "Hats", ""),
        ("A.jpg", "", ""),
    ],
)
def test_fossils_are_marked_by_name_or_category(name, categories, shows):
    assert _one(_file(1, name, fields={"Categories": categories}))[0].shows == shows


def test_a_category_tree_is_walked_breadth_first_to_its_depth_and_each_once():
    fetch = _tree(
        Pterosauria=[_category(1, "Art"), _category(2, "Deep"), _file(10)],
        Art=[_category(3, "Pterosauria"), _category(2, "Deep"), _category(1, "Art"), _file(11), _file(10)],
        Deep=[_file(12), _category(4, "Deeper")],
        Deeper=[_file(13), _category(5, "Deepest")],
    )
    assert _names(listed(_source(), fetch)) == ["Picture 10", "Picture 11", "Picture 12", "Picture 13"]
    requested = [(query["gcmtitle"].removeprefix("Category:"), query["gcmtype"]) for query in fetch.queries]
    assert requested == [
        ("Pterosauria", "file|subcat"),
        ("Art", "file|subcat"),
        ("Deep", "file|subcat"),
        ("Deeper", "file"),
    ]


def test_depth_zero_is_the_category_alone():
    fetch = in_turn(_response(_file(1)))
    assert len(listed(_source(depth=0), fetch)) == 1 and fetch.queries[0]["gcmtype"] == "file"


def test_the_limit_ends_the_requests():
    fetch = in_turn(_response(_file(1), _file(2), **{"continue": {"gcmcontinue": "x", "continue": "-||"}}))
    assert len(listed(_source(limit=2), fetch)) == 2


def test_every_key_of_continue_is_sent_back_and_no_stale_one():
    fetch = in_turn(
        _response(_file(1), **{"continue": {"gcmcontinue": "file|A|1", "iicontinue": "B", "continue": "gcm||"}}),
        _response(_file(2), **{"continue": {"gcmcontinue": "file|C|3", "continue": "-||"}}),
        _response(_file(3)),
    )
    assert len(listed(_source(), fetch)) == 3
    first, second, third = fetch.queries
    assert not {"continue", "gcmcontinue", "iicontinue"} & set(first)
    assert second == {**first, "gcmcontinue": "file|A|1", "iicontinue": "B", "continue": "gcm||"}
    assert third == {**first, "gcmcontinue": "file|C|3", "continue": "-||"}


def test_a_batch_is_merged_by_page_until_it_is_complete():
    part = {"pageid": 2, "ns": 6, "title": "File:Picture 2.jpg"}
    fetch = in_turn(
        {"query": {"pages": [_file(1), part]}, "continue": {"iicontinue": "2|x", "continue": "||"}},
        _response({"pageid": 1, "ns": 6, "title": "File:Picture 1.jpg", "imageinfo": []}, _file(2)),
    )
    offers = listed(_source(), fetch)
    assert [(c.source_id, r) for c, r in offers] == [("1", None), ("2", None)]
    assert offers[0][0].evidence != offers[1][0].evidence  # each names the response that described it


def test_a_batch_that_breaks_off_gives_the_files_that_were_described():
    fetch = in_turn(
        {"query": {"pages": [_file(1), {"pageid": 2, "title": "File:B.jpg"}]}, "continue": {"iicontinue": "2"}},
        HttpError("commons.wikimedia.org responses 503", 503),
    )
    found, sentence = until_it_fails(_source(), fetch)
    assert _names(found) == ["Picture 1"] and sentence == "commons.wikimedia.org responses 503"


def test_an_error_with_status_200_ends_the_list_with_its_code_and_words():
    error = {"error": {"code": "maxlag", "info": "Waiting for a database server: 6 seconds lagged.", "lag": 6}}
    fetch = in_turn(_response(_file(1), **{"continue": {"gcmcontinue": "x"}}), error)
    found, sentence = until_it_fails(_source(), fetch)
    assert _names(found) == ["Picture 1"]
    assert sentence == (
        "commons.wikimedia.org responded with an error: maxlag: Waiting for a database server: 6 seconds lagged."
    )


def test_a_token_that_repeats_never_ends():
    fetch = FakeFetch(lambda request: _response(_file(len(fetch.requests)), **{"continue": {"gcmcontinue": "x"}}))
    found, sentence = until_it_fails(_source(), fetch)
    assert len(found) == 2 and len(fetch.requests) == 2
    assert sentence.startswith("the list of Category:Pterosauria never ends")


def test_new_tokens_for_the_same_files_never_end():
    fetch = FakeFetch(lambda request: _response(_file(1), **{"continue": {"gcmcontinue": str(len(fetch.requests))}}))
    found, sentence = until_it_fails(_source(), fetch)
    assert len(found) == 1 and len(fetch.requests) < 10 and "brought nothing new" in sentence


def test_a_batch_that_is_never_complete_is_given_up():
    def reply(request):
        return {"query": {"pages": [_file(1)]}, "continue": {"iicontinue": str(len(fetch.requests))}}

    fetch = FakeFetch(reply)
    found, sentence = until_it_fails(_source(), fetch)
    assert len(found) == 1 and "is not complete after 100 responses" in sentence


def test_categories_without_end_are_given_up(monkeypatch):
    monkeypatch.setattr(commons, "MAX_CATEGORIES", 20)
    number = iter(range(1, 10**6))
    fetch = FakeFetch(lambda request: _response(*(_category(n, f"C{n}") for n, _ in zip(number, range(7)))))
    _, sentence = until_it_fails(_source(depth=99), fetch)
    assert "more than 20 categories below it; lower `depth:`" in sentence


def test_a_search_is_of_bitmaps_and_comes_in_its_order():
    pages = [{**_file(1), "index": 3}, {**_file(2), "index": 1}, {**_file(3), "index": 2}]
    more = {"continue": {"gsroffset": 50, "continue": "gsroffset||"}}
    fetch = in_turn(_response(*pages, **more), _response({**_file(4), "index": 51}))
    offers = listed(_source(category=None, search='"Sinomacrops"'), fetch)
    assert _names(offers) == ["Picture 2", "Picture 3", "Picture 1", "Picture 4"]
    assert offers[0][0].source == 'commons:"Sinomacrops"'
    query = fetch.queries[0]
    assert (query["generator"], query["gsrnamespace"]) == ("search", "6")
    assert query["gsrsearch"] == 'filetype:bitmap "Sinomacrops"'
    assert fetch.queries[1]["gsroffset"] == "50"


def test_a_category_and_a_search_together_give_every_file_once():
    fetch = in_turn(_response(_file(1), _file(2)), _response(_file(2), _file(3)))
    assert len(listed(_source(search="filetype:drawing x", depth=0), fetch)) == 3
    assert fetch.queries[1]["gsrsearch"] == "filetype:drawing x"


def test_a_source_of_nothing_is_a_mistake_in_params():
    with pytest.raises(ParamsError, match="`category:` or `search:`"):
        listed(_source(category=None), in_turn())


def test_an_unknown_category_offers_nothing():
    assert listed(_source(), in_turn({"batchcomplete": True})) == []


@pytest.mark.parametrize(
    ("response", "place"),
    [
        ({"batchcomplete": True, "query": {"pages": "none"}}, "query.pages should be a list, not a str"),
        (_response({**_file(1), "imageinfo": {"url": "x"}}), "query.pages[0].imageinfo should be a list, not a dict"),
        (_response(_file(1), **{"continue": "more"}), "continue should be an object, not a str"),
    ],
)
def test_a_changed_response_ends_the_source_with_the_place_of_the_change(response, place):
    _, sentence = until_it_fails(_source(), in_turn(response))
    assert sentence == f"the response of commons.wikimedia.org has changed: {place}"


def test_one_malformed_file_among_others_is_a_row():
    offers = listed(_source(), in_turn(_response(_file(1), _file(2, width="wide"))))
    assert [r and r.code for _, r in offers] == [None, "malformed_item"] and offers[1][0].source_id == "2"


def test_recorded_continuation_is_merged_as_recorded():
    responses = [
        recorded(f"wikimedia_commons/allimages_continue_{part}.json") for part in ("1", "2", "3_batchcomplete")
    ]
    offers = listed(_source(limit=9), in_turn(*responses))
    assert len(offers) == 9 and all(content is None and candidate.licence for candidate, content in offers)


def test_recorded_files_all_have_their_licences():
    found = [
        offer
        for name, response in recordings("wikimedia_commons/allimages_*.json")
        if "batchcomplete" in response
        for offer in listed(_source(limit=500), in_turn({**response, "continue": {}}))
    ]
    public = [candidate for candidate, content in found if candidate.licence == "PDM-1.0" and content is None]
    assert len(found) > 60 and len(public) >= 30
    assert all("<" not in candidate.author + candidate.caption + candidate.title for candidate, _ in found)
    assert sum(candidate.shows == "specimen" for candidate, _ in found) >= 10  # the skulls of a museum
