import pytest

from pipeline.core.errors import HttpError
from pipeline.core.records import Rejection
from pipeline.sources.phylopic import PhyloPicParams
from tests.sources.fake_fetch import FakeFetch, listed, recorded, until_it_fails

CLADE = "402efb6b-634b-4fe4-ac6e-547e8c37a437"
GONE = HttpError("api.phylopic.org responses 410", 410)


def _source(name: str = "Pterosauria", **more) -> PhyloPicParams:
    return PhyloPicParams(kind="phylopic", name=name, **more)


def _node(uuid: str, *names: str) -> dict:
    fields = [[{"class": "scientific", "text": name}, {"class": "citation", "text": "Owen 1842"}] for name in names]
    return {"uuid": uuid, "names": fields, "build": 194}


def _image(number: int, **more) -> dict:
    uuid = f"00000000-0000-0000-0000-{number:012d}"
    sizes = ("512x480", "1536x1439", "1024x959.5")
    links = {
        "license": {"href": "https://creativecommons.org/licenses/by/4.0/"},
        "contributor": {"href": f"/contributors/{CLADE}?build=194", "title": "Cy"},
        "specificNode": {"href": "/nodes/x?build=194", "title": "Cuspicephalus scarfi"},
        "rasterFiles": [
            {"href": f"https://images.phylopic.org/images/{uuid}/raster/{size}.png", "sizes": size, "type": "image/png"}
            for size in sizes
        ],
        **more.pop("links", {}),
    }
    return {"uuid": uuid, "attribution": "Cy Marchant", "build": 194, "_links": links, **more}


def _head(build: int, items: int, pages: int) -> dict:
    return {"build": build, "itemsPerPage": 48, "totalItems": items, "totalPages": pages, "_links": {}}


def _page(build: int, *items: dict) -> dict:
    return {"build": build, "index": 0, "_links": {}, "_embedded": {"items": list(items)}}


def _server(pages: list[list[dict]], nodes: list[dict] | None = None, newest: int = 194) -> FakeFetch:
    """Lists of images and nodes in the recorded shape, of one build."""
    nodes = [_node("other", "Pterosauria incertae sedis"), _node(CLADE, "Pterosauria")] if nodes is None else nodes

    def reply(request):
        query, lists = dict(request.query), {"images": pages, "nodes": [nodes] if nodes else []}
        found = lists[request.url.rpartition("/")[2]]
        if "page" not in query:
            return _head(newest, sum(map(len, found)), len(found))
        return _page(int(query["build"]), *found[int(query["page"])])

    return FakeFetch(reply)


def test_a_silhouette_is_described_as_fully_as_its_response_allows():
    fetch = _server([[_image(1)]])
    ((candidate, content),) = listed(_source(), fetch)
    assert content is None and candidate.source == "phylopic:Pterosauria"
    assert candidate.image_url.endswith("/raster/1536x1439.png")
    assert candidate.page_url == f"https://www.phylopic.org/images/{candidate.source_id}"
    assert (candidate.title, candidate.taxon) == ("Cuspicephalus scarfi", "Cuspicephalus scarfi")
    assert (candidate.author, candidate.author_url, candidate.licence) == ("Cy Marchant", "", "CC-BY-4.0")
    assert all(request.accept == "application/vnd.phylopic.v2+json" for request in fetch.requests)


def test_the_clade_is_found_by_its_exact_name_and_its_images_page_by_page():
    fetch = _server([[_image(1), _image(2)], [_image(3)]])
    assert len(listed(_source("  PTEROSAURIA "), fetch)) == 3
    assert [(request.url.rpartition("/")[2], dict(request.query)) for request in fetch.requests] == [
        ("nodes", {"filter_name": "pterosauria"}),
        ("nodes", {"filter_name": "pterosauria", "build": "194", "embed_items": "true", "page": "0"}),
        ("images", {"filter_clade": CLADE}),
        ("images", {"filter_clade": CLADE, "build": "194", "embed_items": "true", "page": "0"}),
        ("images", {"filter_clade": CLADE, "build": "194", "embed_items": "true", "page": "1"}),
    ]


@pytest.mark.parametrize("nodes", [[], [_node("other", "Pterosauria incertae sedis")]])
def test_a_name_that_it_does_not_have_is_one_sentence(nodes):
    _, sentence = until_it_fails(_source(), _server([[_image(1)]], nodes))
    assert sentence == "api.phylopic.org has no silhouette of 'Pterosauria' or anything within it; name a wider clade"


@pytest.mark.parametrize(
    ("fields", "author", "address"),
    [
        ({"attribution": None}, "Cy", f"https://www.phylopic.org/contributors/{CLADE}"),
        ({"attribution": "Cy"}, "Cy", f"https://www.phylopic.org/contributors/{CLADE}"),
        ({"attribution": "", "links": {"contributor": None}}, "", ""),
    ],
)
def test_without_an_attribution_the_contributor_counts(fields, author, address):
    ((candidate, _),) = listed(_source(), _server([[_image(1, **fields)]]))
    assert (candidate.author, candidate.author_url) == (author, address)


def test_a_drawing_without_a_bitmap_is_a_row():
    ((candidate, refused),) = listed(_source(), _server([[_image(1, links={"rasterFiles": []})]]))
    assert isinstance(refused, Rejection) and refused.code == "not_a_picture" and candidate.image_url == ""


def test_a_build_that_is_gone_is_dropped_and_the_list_begins_again_with_the_newest():
    old, newer = _server([[_image(1)], [_image(2)]]), _server([[_image(1), _image(2)], [_image(3)]], newest=195)

    def reply(request):
        query = dict(request.query)
        if request.fresh or query.get("build") == "195":
            return newer.reply(request)
        return GONE if query.get("page") == "1" else old.reply(request)

    fetch = FakeFetch(reply)
    assert [candidate.source_id[-1] for candidate, _ in listed(_source(), fetch)] == ["1", "2", "3"]
    fresh = [request for request in fetch.requests if request.fresh]
    assert len(fresh) == 2 and all("build" not in dict(request.query) for request in fresh)
    assert {dict(request.query).get("build") for request in fetch.requests[-2:]} == {"195"}


def test_a_build_that_is_gone_again_and_again_is_given_up_with_what_it_gave():
    server = _server([[_image(1)], [_image(2)]])
    fetch = FakeFetch(lambda request: GONE if dict(request.query).get("page") == "1" else server.reply(request))
    found, sentence = until_it_fails(_source(), fetch)
    assert len(found) == 1 and "410" in sentence


def test_other_errors_do_not_start_again():
    error = HttpError("api.phylopic.org responses 503", 503)
    fetch = FakeFetch(lambda request: error)
    _, sentence = until_it_fails(_source(), fetch)
    assert "503" in sentence and len(fetch.requests) == 1


def test_more_pages_than_there_are_images_are_given_up():
    fetch = _server([[_image(1)]] * 50)
    found, sentence = until_it_fails(_source(), fetch)
    assert len(found) == 1 and "brought nothing new" in sentence


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ({**_image(1), "_links": "x"}, "_embedded.items[0]._links should be an object, not a str"),
        ({**_image(1), "uuid": None}, "_embedded.items[0] has no 'uuid'"),
    ],
)
def test_a_changed_response_is_one_sentence(image, words):
    _, sentence = until_it_fails(_source(), _server([[image]]))
    assert sentence == f"the response of api.phylopic.org has changed: {words}"


def test_the_recorded_image_and_the_recorded_head_are_read():
    image, head = recorded("phylopic/sample_record.json"), recorded("phylopic/initial_request.json")
    server = _server([[image]])

    def reply(request):
        first = request.url.endswith("/images") and "page" not in dict(request.query)
        return {**head, "totalPages": 1} if first else server.reply(request)

    ((candidate, _),) = listed(_source(), FakeFetch(reply))
    assert (candidate.taxon, candidate.author, candidate.licence) == ("Hemaris tityus", "Andy Wilson", "CC0-1.0")
    assert candidate.image_url.endswith("/raster/1536x1439.png")
