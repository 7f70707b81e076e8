import pytest

from pipeline.core.errors import ServiceError
from pipeline.core.records import Candidate, Rejection, Request
from pipeline.sources.json_reader import ChangedResponse, JsonValue
from pipeline.sources.pagination import identified_by, limited, paginate, read_items, without_repeats
from tests.sources.fake_fetch import in_turn

FIRST, SECOND = Request("https://example.org/1"), Request("https://example.org/2")


def _readings(*values) -> list[JsonValue]:
    return JsonValue({"items": list(values)}, "example.org", evidence="e" * 64).items("items")


def test_a_list_that_leads_back_to_an_earlier_page_ends_with_what_it_gave():
    found = []
    with pytest.raises(ServiceError, match="the list of dodo never ends: it leads back to a page"):
        for response in paginate(
            in_turn(1, 2, 3), FIRST, lambda response: SECOND if response.value == 1 else FIRST, "dodo"
        ):
            found.append(response.value)
    assert found == [1, 2]


def test_items_come_once_and_a_list_without_news_is_given_up():
    pages = [_readings({"id": 1}), _readings({"id": 1}, {"id": 2}), *[_readings({"id": 2})] * 4]
    found = []
    with pytest.raises(ServiceError, match="never ends: 3 pages in a row brought nothing new"):
        for page in without_repeats(pages, identified_by("id"), "dodo"):
            found.append([item.value["id"] for item in page])
    assert found == [[1], [2], [], [], []]


def test_empty_pages_at_the_end_of_a_list_are_no_trouble():
    assert [len(page) for page in without_repeats([_readings(1), [], [], []], identified_by("id"), "dodo")] == [
        1,
        0,
        0,
        0,
    ]


def test_no_picture_beyond_the_limit_is_read():
    def offers():
        for name in ("a", "a", "b", "c"):
            assert name != "c", "one more than the limit was requested for"
            yield Candidate("s", name, ""), None

    assert [candidate.source_id for candidate, _ in limited(2, offers())] == ["a", "b"]


def _offer(item: JsonValue):
    yield Candidate("s", item.required_text("id"), ""), None
    item.items("media")


def test_an_item_that_cannot_be_read_is_a_rejection_and_the_others_stay():
    found = list(read_items(_readings({"id": 1}, {"id": 2, "media": "x"}, {"name": "y"}), "s", _offer))
    assert [candidate.source_id for candidate, _ in found] == ["1", "2", f"{'e' * 12}:items[2]"]
    refused = found[1][1]
    assert isinstance(refused, Rejection) and refused.code == "malformed_item"
    assert refused.sentence == (
        "It cannot be read: the response of example.org has changed: items[1].media should be a list, not a str."
    )


def test_a_page_of_which_nothing_can_be_read_is_the_sources_trouble():
    with pytest.raises(ChangedResponse, match=r"items\[0\] has no 'id'"):
        list(read_items(_readings({}, "x"), "s", _offer))
    assert list(read_items([], "s", _offer)) == []
