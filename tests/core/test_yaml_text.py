"""YAML that people write: mistakes in plain words with their line, and texts that stand for too much."""

from __future__ import annotations

import time

import pytest

from pipeline.core import yaml_text
from pipeline.core.errors import ParamsError
from tests.project import ROOT


def bomb(template: str, first: str) -> str:
    """Nine aliases of nine aliases of …: 9 ** 9 values in ten lines."""
    lines = [f"a: &a {first}"]
    for before, name in zip("abcdefghi", "bcdefghij"):
        lines.append(f"{name}: &{name} {template.format(', '.join([f'*{before}'] * 9), name)}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train:\n\tsteps: 5\n", "line 2, 'steps: 5', is indented with a tab; indent it with spaces"),
        ("train:\n  steps: 5\n\tx: 3\n", "line 3, 'x: 3', is indented with a tab; indent it with spaces"),
        ("train:\n  steps 500\n  x: 1\n", "line 2, 'steps 500', has no colon after its key; write `key: value`"),
        ("train:\n  x: 1\n  steps 500\n", "line 3, 'steps 500', has no colon after its key; write `key: value`"),
        ("seed: 1\ntrain\n  x: 1\n", "line 2, 'train', has no colon after its key; write `key: value`"),
        ("train:\n  steps:500\n  a: 1\n", "line 2, 'steps:500', needs a space after its colon"),
        ("train:\n  x: 1\n    b: 1\n", "line 3, 'b: 1', is indented deeper than line 2, which has a value already"),
        ("train:\n    x: 1\n  b: 1\n", "line 3, 'b: 1', is indented unlike the lines of its section; align it"),
        ("a:\n  x: 5\n  x: 6\n", "line 3, 'x: 6', has the key 'x' a second time in its section; remove one"),
        ('a:\n  name: "abc\n  b: 1\n', "line 2, 'name: \"abc', opens a quote that is never closed; close it"),
        ("a:\n  name: 'it's'\n  b: 1\n", "goes on after its value has ended; put the whole value into quotes"),
        ("prompt: {name} flying\n", "goes on after its value has ended; put the whole value into quotes"),
        ("a:\n  name: A: b\n", "line 2, 'name: A: b', has a second colon; put the value into quotes"),
        ("a: @b\n", "line 1, 'a: @b', has a value that begins with '@'; put it into quotes"),
        ("a: [1, 2\nb: 1\n", "line 1, 'a: [1, 2', opens a bracket that is not closed, or lacks a comma"),
        ("a: *b\n", "line 1, 'a: *b', has a `*` that refers to nothing; put the text into quotes"),
        ("a:\n -b\n -c: 1\n", "line 2, '-b', needs a space after its dash"),
        ("a: {{b}: 1}\n", "has a bracket where a key should be; put the text into quotes"),
        ("a: 1\n---\nb: 2\n", "line 2, '---', begins a second document; remove it"),
        ("a: !!python/object:os.system {}\n", "has a tag (`!…`) that means nothing here; remove it"),
        ("a: \x01\n", "it holds the control character #x0001; remove it"),
        ("a: 2001-13-45\n", "a value cannot be read (month must be in 1..12); correct it"),
        ("a: 1" + "0" * 5000, "a value cannot be read (Exceeds the limit (4300 digits)"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_mend(text, expected):
    with pytest.raises(ParamsError) as refused:
        yaml_text.load(text, "params.yaml")
    assert str(refused.value).startswith("params.yaml is not valid YAML: ")
    assert expected in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (bomb("[{0}]", "[x, x]"), "stands for more than 1 MiB with its aliases"),
        (bomb("{{<<: [{0}], own_{1}: 1}}", "{x: 1}"), "stands for more than 1 MiB with its aliases"),
        ("a: &a [*a]\n", "has an alias *a within what it stands for"),
        ("a: " + "[" * 200_000, "is nested deeper than 50 levels"),
    ],
)
def test_a_text_that_stands_for_too_much_is_refused_at_once(text, expected):
    began = time.process_time()
    with pytest.raises(ParamsError, match=expected.replace("*", r"\*")):
        yaml_text.load(text, "params.yaml")
    assert time.process_time() - began < 5  # written out it would be minutes


def test_aliases_and_merges_of_ordinary_size_are_read():
    text = "a: &a {k: 1}\nb: {<<: *a, c: 2}\nd: [*a, *a]\n"
    assert yaml_text.load(text, "x") == {"a": {"k": 1}, "b": {"k": 1, "c": 2}, "d": [{"k": 1}, {"k": 1}]}
    assert yaml_text.load((ROOT / "params.yaml").read_text(), "params.yaml")["seed"]
