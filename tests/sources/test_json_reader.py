import pytest

from pipeline.core.errors import ServiceError
from pipeline.core.records import ApiResponse
from pipeline.sources.json_reader import ChangedResponse, JsonValue, clean, read_object, web_address
from pipeline.sources.markup import plain

HOST = "api.example.org"


def _reading(value) -> JsonValue:
    return JsonValue({"results": [{"media": value}]}, HOST).items("results")[0]


def test_absent_and_null_are_the_same():
    for reading in (_reading(None), JsonValue({}, HOST), JsonValue(None, HOST)):
        assert reading.text("media") == "" and reading.items("media") == [] and reading.object("media").value == {}
        assert reading.number("media") is None and reading.boolean("media") is False
        assert reading.text("media", "deeper") == ""


def test_an_empty_object_of_php_is_a_list():
    assert _reading([]).object("media").value == {} and _reading([]).text("media", "Artist", "value") == ""


@pytest.mark.parametrize(
    ("read", "value", "sentence"),
    [
        ("items", "all", "results[0].media should be a list, not a str"),
        ("object", [1], "results[0].media should be an object, not a list"),
        ("text", {"en": "x"}, "results[0].media should be a text, not a dict"),
        ("text", True, "results[0].media should be a text, not a bool"),
        ("number", "twelve", "results[0].media should be a whole number, not a str"),
        ("number", 1.5, "results[0].media should be a whole number, not a float"),
        ("boolean", "yes", "results[0].media should be true or false, not a str"),
        ("required_items", None, "results[0] has no 'media'"),
        ("required_text", None, "results[0] has no 'media'"),
    ],
)
def test_a_changed_type_is_one_sentence_with_its_place(read, value, sentence):
    with pytest.raises(ChangedResponse) as failure:
        getattr(_reading(value), read)("media")
    assert str(failure.value) == f"the response of {HOST} has changed: {sentence}"


def test_numbers_may_be_written_as_text_and_texts_as_numbers():
    assert _reading("48").number("media") == 48 and _reading(2.0).text("media") == "2.0"


def test_what_is_below_a_text_is_a_changed_type():
    with pytest.raises(ChangedResponse, match=r"results\[0\].media should be an object, not a str"):
        _reading("Ada").text("media", "name")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"error": {"code": "maxlag", "info": "Waiting\nfor a database"}}, "maxlag: Waiting for a database"),
        ({"error": "Result window is too large", "status": 403}, "Result window is too large"),
        ({"errors": [{"type": "BAD", "userMessage": "No such build."}], "build": 1}, "No such build."),
        ({"detail": "Authentication failed"}, "Authentication failed"),
        ({"error": {"strange": 1}}, "{'strange': 1}"),
    ],
)
def test_an_error_with_status_200_is_one_sentence(fields, sentence):
    with pytest.raises(ServiceError) as failure:
        read_object(ApiResponse(fields, "abc"), HOST)
    assert str(failure.value) == f"{HOST} responded with an error: {sentence}"


@pytest.mark.parametrize("value", [[], "<html>", None, 7])
def test_a_response_that_is_no_object_has_changed(value):
    with pytest.raises(ChangedResponse, match="it should be an object"):
        read_object(ApiResponse(value, "abc"), HOST)


def test_texts_are_on_one_line_and_can_be_stored():
    assert clean(" a\x00b\n\u202ec \ud800 e\u0301 ") == "a b c \u00e9"
    clean("\ud800").encode()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://example.org/a b.jpg", "https://example.org/a b.jpg"),
        ("//example.org/a.jpg", "https://example.org/a.jpg"),
        ("javascript:alert(1)", ""),
        ("file:///etc/passwd", ""),
        ("data:image/png;base64,AA", ""),
        ("a.jpg", ""),
        ("https://[broken/", ""),
        ("", ""),
    ],
)
def test_only_addresses_of_the_web_count(text, address):
    assert web_address(text, "https:") == address


BASE = "https://commons.wikimedia.org/"


@pytest.mark.parametrize(
    ("markup", "text", "link"),
    [
        ("Holland, W. J.", "Holland, W. J.", ""),
        (
            '<a href="//commons.wikimedia.org/wiki/User:Jozefsu" title="User:Jozefsu">Jozefsu</a>',
            "Jozefsu",
            BASE + "wiki/User:Jozefsu",
        ),
        ('<a href="/w/index.php?title=User:K&amp;action=edit&amp;redlink=1" class="new">K</a>', "K", ""),
        ('<div class="fn value">\nJona Lendering</div>', "Jona Lendering", ""),
        (
            '<a rel="nofollow" href="https://www.flickr.com/people/1@N07">Jeff &amp; Brian</a> from Eastbourne',
            "Jeff & Brian from Eastbourne",
            "https://www.flickr.com/people/1@N07",
        ),
        (
            '<ul>\n<li><a href="/wiki/File:D.jpg">D.jpg</a>: M</li>\n<li>by <a>Bea</a><b><a>o</a></b></li></ul>',
            "D.jpg: M by Beao",
            BASE + "wiki/File:D.jpg",
        ),
        ('Night<div style="display: none;">label <p>QS:Len<a href="/x">y</a></div> in Nice', "Night in Nice", ""),
        ("<script>alert(1)</script>a<br>b<img src=x onerror=alert(1)>", "a b", ""),
        ('<a href="javascript:alert(1)">Ada</a>', "Ada", ""),
        ("a < b &lt;i&gt;", "a < b <i>", ""),
        ("<p>unclosed <b>text", "unclosed text", ""),
    ],
)
def test_html_becomes_text_and_a_link(markup, text, link):
    assert plain(markup, BASE) == (text, link)
