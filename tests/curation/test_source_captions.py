import pytest

from pipeline.curation.source_captions import clean, of_source


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sinomacrops bondei flying over the sea", "Sinomacrops bondei flying over the sea"),
        ("<p>A <i>Pteranodon</i><br>\n over  water</p>", "A Pteranodon over water"),
        ("&lt;b&gt;Bold&lt;/b&gt; &amp;amp; old", "Bold & old"),
        ("'''Dodo''' by [[User:Ada|Ada]], see [[Raphus]]", "Dodo by Ada, see Raphus"),
        ("{{Information|description={{en|1=x}}}} A dodo", "A dodo"),
        ("From [https://example.org the museum], https://example.org/x?y", "From the museum,"),
        ("<style>.a{color:red}</style>A dodo", "A dodo"),
        ("wings < 2 m > 1 m", "wings < 2 m > 1 m"),
        ("12", ""),
        ("  \n ", ""),
        ("<br>", ""),
    ],
)
def test_one_line_of_words_is_left(text, expected):
    assert clean(text, 40) == expected


def test_a_long_text_ends_with_a_sentence_or_else_with_a_word():
    assert clean("It flies. It is large and it is brown, as others are.", 5) == "It flies."
    assert clean("It flies over the wide, blue sea", 5) == "It flies over the wide"


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("File:Pteranodon_longiceps_02.jpg", "Pteranodon longiceps"),
        ("Image: Dodo (3).png", "Dodo"),
        ("12. A dodo at rest", "A dodo at rest"),
        ("Dodo 1651", "Dodo 1651"),
        ("A dodo, plate 12", "A dodo, plate 12"),
        ("DSC_0123.JPG", ""),
        ("IMG-2041", ""),
        ("20230401_1.jpg", ""),
        ("", ""),
    ],
)
def test_a_file_name_is_a_caption_without_its_technical_parts(title, expected):
    assert of_source({"caption": "", "title": title}, 40) == expected


def test_what_the_source_says_of_the_picture_comes_before_its_title():
    assert of_source({"caption": "At rest", "title": "Dodo"}, 40) == "At rest"
    assert of_source({"caption": "<br>", "title": "Dodo"}, 40) == "Dodo"
