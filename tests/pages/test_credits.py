from __future__ import annotations

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
        "# Pictures of Sinomacrops bondei\n\n1 picture: 1 CC0-1.0.\n\n"
        r"- [Plate \[1\] \*x\*](<https://example.org/a.png>), A \| B C, "
        r"[CC0\-1\.0](<https://example.org/cc%200%3E>) (trained on, `train/a.png`)"
        "\n"
    )


def test_licences_are_counted_the_most_frequent_first():
    credits = [{"licence": licence} for licence in ("B", "A", "C", "B")]
    assert list(licence_counts(credits).items()) == [("B", 2), ("A", 1), ("C", 1)]


def test_the_credits_of_the_site_are_those_of_every_animal():
    text = site_credits([("Dodo", [credit(ROW)]), ("Moa", [credit(ROW)] * 2)], cites_pbdb=True)
    assert text.startswith("# Pictures on this site\n\n3 pictures: 3 CC0-1.0.\n\n## Dodo\n\n- [Plate")
    assert text.count("- [Plate") == 3 and "## Moa" in text and "Paleobiology Database" in text
    assert "Paleobiology" not in site_credits([], cites_pbdb=False)


def test_what_was_collected_is_credited_by_licence_and_author():
    row = ROW | {"author_url": "https://example.org/a", "source_id": "7"}
    text = collection_credits("Dodo", [row | {"licence": "CC-BY-4.0", "author": "Zoe"}, row, row | {"author": "Bo"}])
    assert text.index(r"## CC0\-1\.0: 2 pictures") < text.index(r"## CC\-BY\-4\.0: 1 picture")
    assert text.index("Bo") > text.index(r"A \| B C") and "[Zoe](<https://example.org/a>)" in text
