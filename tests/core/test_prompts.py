"""Templates of sentences: two placeholders, and nothing that is evaluated."""

from __future__ import annotations

import pytest

from pipeline.core.prompts import CAPTION_PLACEHOLDERS, fill, fill_prompt

WORDS = {"name": "Raphus cucullatus", "class_noun": "bird"}


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{name}", "Raphus cucullatus"),
        ("a {class_noun} named {name}, {name}", "a bird named Raphus cucullatus, Raphus cucullatus"),
        ("no placeholder", "no placeholder"),
        ("", ""),
        ("a {{brace}} and {{{name}}}", "a {brace} and {Raphus cucullatus}"),
        ("100 % $name %(name)s {{}}", "100 % $name %(name)s {}"),
    ],
)
def test_the_two_placeholders_are_filled_and_doubled_braces_are_braces(template, filled):
    assert fill_prompt(template, **WORDS) == filled


def test_braces_in_a_value_are_not_read_again():
    words = {"caption": "{name} {{ } {class_noun.__class__}", **WORDS}
    assert fill("{caption}!", CAPTION_PLACEHOLDERS, **words) == words["caption"] + "!"


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("{foo}", "an unknown placeholder {foo}"),
        ("{caption}", "an unknown placeholder {caption}"),
        ("{name.__class__}", "an unknown placeholder {name.__class__}"),
        ("{name[0]}", "an unknown placeholder {name[0]}"),
        ("{name:>100000000}", "an unknown placeholder {name:>100000000}"),
        ("{name!r}", "an unknown placeholder {name!r}"),
        ("{ name }", "an unknown placeholder { name }"),
        ("{}", "an unknown placeholder {}"),
        ("{0}", "an unknown placeholder {0}"),
        ("{name", "a single {"),
        ("name}", "a single }"),
        ("{{name}", "a single }"),
        ("{name:{class_noun}}", "a single {"),
    ],
)
def test_anything_else_in_braces_is_one_sentence_with_what_is_known(template, what):
    with pytest.raises(ValueError) as caught:
        fill_prompt(template, **WORDS)
    rest = "known are {name}, {class_noun}; a brace itself is {{ or }}"
    assert str(caught.value) == f"the prompt {template!r} has {what}; {rest}"


def test_a_prompt_of_a_million_braces_takes_no_time():
    assert fill_prompt("{{}}" * 250_000, **WORDS) == "{}" * 250_000
    with pytest.raises(ValueError, match="has a single {"):
        fill_prompt("{" * 1_000_001, **WORDS)
