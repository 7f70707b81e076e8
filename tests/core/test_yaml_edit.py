"""Keys of a YAML text renamed, moved and removed: what is not touched keeps every byte."""

from __future__ import annotations

import pytest

from pipeline.core.errors import ParamsError
from pipeline.core.yaml_edit import remove_key, rename_key

TEXT = """\
# head

train:            # how
  # speed
  # of learning
  rate: 3.0e-4    # small
                  # and smaller
  masks: {outside: 1.0, "inside": 0}   # white counts
  look:           # before the first step
    steps: 10     # of DDIM
    prompts:
      - "{name} # 1"

  # nothing of this: is a key
  # rate: 1
sample: {steps: 2, guidance: 3.0}
text: |
  # no comment
  rate: 1
last: 1
"""


@pytest.mark.parametrize(
    ("old", "new", "before", "after"),
    [
        ("train.rate", "train.learning_rate", "  rate: 3.0e-4    # small", "  learning_rate: 3.0e-4 # small"),
        ("train.look", "train.monitor", "  look:           #", "  monitor:        #"),
        (
            "train.masks.outside",
            "train.masks.black",
            '{outside: 1.0, "inside": 0}   #',
            '{black: 1.0, "inside": 0}     #',
        ),
        ("train.masks.inside", "train.masks.white", '"inside": 0}   #', '"white": 0}    #'),
        ("sample.guidance", "sample.guidance_scale", "guidance: 3.0", "guidance_scale: 3.0"),
        ("train.look.steps", "train.look.n", "    steps: 10     # of", "    n: 10         # of"),
        ("last", "final", "last: 1", "final: 1"),
        (
            "train.rate",
            "train.optimiser.rate",
            "  # speed\n  # of learning\n  rate: 3.0e-4    # small\n                  # and smaller\n",
            "  optimiser:\n    # speed\n    # of learning\n    rate: 3.0e-4  # small\n"
            "                  # and smaller\n",
        ),
        (
            "train.look",
            "monitor",
            "  look:           # before the first step\n    steps: 10     # of DDIM\n    prompts:\n"
            '      - "{name} # 1"\n\n  # nothing of this: is a key\n  # rate: 1\nsample: {steps: 2, guidance: 3.0}\n'
            "text: |\n  # no comment\n  rate: 1\nlast: 1\n",
            "\n  # nothing of this: is a key\n  # rate: 1\nsample: {steps: 2, guidance: 3.0}\ntext: |\n  # no comment\n"
            "  rate: 1\nlast: 1\n\nmonitor:          # before the first step\n  steps: 10       # of DDIM\n  prompts:\n"
            '    - "{name} # 1"\n',
        ),
        ("train.masks.outside", "train.masks.weights.black", "{outside: 1.0,", None),
        ("last", "sample.last", "guidance: 3.0}\ntext: |\n  # no comment\n  rate: 1\nlast: 1\n", None),
        ("sample.guidance", "train.look.scale", ", guidance: 3.0", None),
        ("text", "train.look.text", "text: |\n  # no comment\n  rate: 1\n", None),
    ],
)
def test_a_key_gets_another_name_or_place_and_all_else_stays(old, new, before, after):
    assert before in TEXT
    edited = rename_key(TEXT, old, new)  # compares the values by itself
    if after is not None:
        assert edited == TEXT.replace(before, after)
    touched = before.splitlines()
    kept = [line for line in TEXT.splitlines() if line.strip() and not any(part in line for part in touched if part)]
    assert [line for line in edited.splitlines() if line in kept] == kept


def test_a_move_into_a_section_that_is_there_goes_to_its_end():
    text = "a:\n  old: 1 # one\n  size:\n    x: 2\n    # about y\n    y: 3\n\n  z: 4\n"
    assert rename_key(text, "a.old", "a.size.new") == (
        "a:\n  size:\n    x: 2\n    # about y\n    y: 3\n    new: 1 # one\n\n  z: 4\n"
    )
    assert rename_key("a: 1\nb: {c: 2}\n", "a", "b.a") == "b: {c: 2, a: 1}\n"
    assert rename_key("a: 1\nb: {}  # empty\n", "a", "b.a") == "b: {a: 1}  # empty\n"
    assert rename_key("a: 1\nb:  # null\n", "a", "b.a") == "b: {a: 1}  # null\n"


def test_comments_go_with_their_key_wherever_it_goes():
    text = "a:\n  # above\n  x: 1  # beside\n  y: 2\nb: {c: 2}\n"
    assert rename_key(text, "a.x", "b.x") == "a:\n  y: 2\n# above\n# beside\nb: {c: 2, x: 1}\n"
    alone = "a:  # section\n  # above\n  x: 1  # beside\nb:\n  c: 2\n"
    assert rename_key(alone, "a.x", "b.x") == "b:\n  c: 2\n  # section\n  # above\n  x: 1  # beside\n"


def test_a_key_can_become_a_section_of_its_own_name():
    assert rename_key("a:\n  caption: x  # c\n", "a.caption", "a.caption.template") == (
        "a:\n  caption:\n    template: x # c\n"
    )


def test_a_removed_key_takes_its_comments_and_its_empty_section_along():
    assert remove_key(TEXT, "train.rate") == TEXT.replace(
        "  # speed\n  # of learning\n  rate: 3.0e-4    # small\n                  # and smaller\n", ""
    )
    assert remove_key(TEXT, "train.masks.outside") == TEXT.replace("outside: 1.0, ", "")
    assert remove_key("a:\n  b: {c: 1}  # gone\nd: 2\n", "a.b.c") == "d: 2\n"


def test_line_ends_at_the_end_of_the_file_are_as_they_were():
    assert rename_key("a: 1", "a", "b") == "b: 1"
    assert rename_key("x: 0\na:\n  b: 1", "a.b", "x2.b") == "x: 0\nx2:\n  b: 1"


@pytest.mark.parametrize(
    ("text", "old", "new", "sentence"),
    [
        ("a: 1\nb: 2\n", "a", "b", "both 'a' and its new name 'b' are written; remove one"),
        ("a: 1\nb:\n  c: 2\n", "a", "b.c", "both 'a' and its new name 'b.c' are written; remove one"),
        ("a: 1\nb: 2\n", "a", "b.c", "'b.c' cannot be written, since 'b' is no section"),
        ("x: &x {a: 1}\nb:\n  <<: *x\n", "b.a", "b.c", "'b.a' is not written as a key of its own"),
        ("a: &x 1\nb: *x\nc: {d: 1}\n", "b", "c.b", "'b' stands where its line cannot be edited safely"),
        ("a: &x 1\nb: *x\nc:\n  d: 1\n", "a", "c.a", "'a' stands where its line cannot be edited safely"),
    ],
)
def test_what_cannot_be_done_safely_is_refused(text, old, new, sentence):
    with pytest.raises(ParamsError) as caught:
        rename_key(text, old, new)
    assert sentence in str(caught.value)
