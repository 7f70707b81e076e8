from __future__ import annotations

from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from pipeline.pages.credits import collection_credits, credit, credits_file, licence_counts, site_credits, web_address

ROW = {
    "file_name": "train/a.png",
    "title": "Plate [1] *x*",
    "source_id": "a",
    "caption": "c",
    "author": "A | B\nC",
    "licence": "CC0-1.0",
    "licence_url": "https://example.org/cc 0>",
    "page_url": "javascript:alert(1)",
    "image_url": "https://example.org/a.png",
    "source": "folder",
    "split": "train",
    "sha256": "ab",
}


def test_only_addresses_of_the_web_become_links():
    assert web_address("https://example.org") == "https://example.org"
    for other in ("javascript:alert(1)", "synthetic://x", "file:///etc/passwd", ""):
        assert web_address(other) == ""
    assert credit(ROW)["page"] == "https://example.org/a.png"


def test_what_is_not_known_is_said():
    bare = credit(
        ROW | {"title": "", "author": None, "licence": "", "licence_url": None, "page_url": None, "image_url": ""}
    )
    assert (bare["title"], bare["author"], bare["licence"], bare["page"]) == (
        "a",
        "unknown author",
        "unknown licence",
        "",
    )


def test_the_credits_file_is_markdown_that_no_title_can_break():
    text = credits_file("Sinomacrops bondei", [credit(ROW)])
    assert text == (
        "# Pictures of Sinomacrops bondei\n\n1 picture: 1 CC0\\-1\\.0.\n\n"
        r"- [Plate \[1\] \*x\*](<https://example.org/a.png>), A \| B C, "
        r"[CC0\-1\.0](<https://example.org/cc%200%3E>) (trained on, `train/a.png`)"
        "\n"
    )


def test_licences_are_counted_the_most_frequent_first():
    credits = [{"licence": licence} for licence in ("B", "A", "C", "B")]
    assert list(licence_counts(credits).items()) == [("B", 2), ("A", 1), ("C", 1)]


def test_the_credits_of_the_site_are_those_of_every_animal():
    text = site_credits([("Dodo", [credit(ROW)]), ("Moa", [credit(ROW)] * 2)], cites_pbdb=True)
    assert text.startswith("# Pictures on this site\n\n3 pictures: 3 CC0\\-1\\.0.\n\n## Dodo\n\n- [Plate")
    assert text.count("- [Plate") == 3 and "## Moa" in text and "Paleobiology Database" in text
    assert "Paleobiology" not in site_credits([], cites_pbdb=False)


def test_what_was_collected_is_credited_by_licence_and_author():
    row = ROW | {"author_url": "https://example.org/a", "source_id": "7"}
    text = collection_credits("Dodo", [row | {"licence": "CC-BY-4.0", "author": "Zoe"}, row, row | {"author": "Bo"}])
    assert text.index(r"## CC0\-1\.0: 2 pictures") < text.index(r"## CC\-BY\-4\.0: 1 picture")
    assert text.index("Bo") > text.index(r"A \| B C") and "[Zoe](<https://example.org/a>)" in text


class Shown(HTMLParser):
    """What a reader of a page sees: its text, and where its links lead."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.text, self.links, self.tags = "", [], set()
        self.feed(MarkdownIt("commonmark", {"html": True}).render(markdown))

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name in ("href", "src")]

    def handle_data(self, data):
        self.text += data


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</li></ul><iframe src='https://evil.example'>",
    "[click](javascript:alert(1))",
    "![x](https://evil.example/track.png)",
    "](<https://evil.example>) [",
    "<https://evil.example> <javascript:alert(1)>",
    "[x][1] ** __ ~~ `code` ``` | a | # b - c",
    "&lt;b&gt; &copy; &#60;script&#62;",
    "\\](x) \\<b>",
]


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("write", ["collected", "of a model", "of the site"])
def test_what_came_from_outside_is_shown_as_it_is_and_makes_no_markup(hostile, write):
    row = ROW | dict.fromkeys(("title", "author", "licence", "author_url", "page_url", "licence_url"), hostile)
    texts = {
        "collected": lambda: collection_credits(hostile, [row]),
        "of a model": lambda: credits_file(hostile, [credit(row)]),
        "of the site": lambda: site_credits([(hostile, [credit(row)])], cites_pbdb=False),
    }
    shown = Shown(texts[write]())
    assert shown.tags <= {"h1", "h2", "p", "ul", "li", "a", "code"}
    assert set(shown.links) <= {"https://example.org/a.png"}
    assert shown.text.count(hostile) == 5, "name, title, author, licence, and the licence by itself"


def test_addresses_keep_their_meaning_and_break_nothing():
    address = "https://example.org/a?b=1&copy;=2\\)>`\n[x](javascript:alert(1))"
    shown = Shown(collection_credits("Dodo", [ROW | {"author_url": "", "page_url": address}]))
    assert shown.links[0].startswith("https://example.org/a?b=1&copy;=2%5C)%3E%60%0A")
    assert not [link for link in shown.links if link.startswith("javascript")]


def test_a_written_out_address_is_no_link_and_unseen_characters_are_gone():
    text = credits_file("Dodo", [credit(ROW | {"author": "https://evil.example\u202e\x1b[31m\x00 www.evil.example"})])
    assert r"https&#58;//evil\.example\[31m www\.evil\.example" in text
