"""Whether a caption names the species, and how much of it is read: one rule, before weights are loaded and after."""

import pytest

from pipeline.core import params as params_module
from pipeline.core.records import Subject
from pipeline.families import family
from pipeline.families.model_components import spell, tokens_cut
from pipeline.methods import textual_inversion
from pipeline.training import preflight
from pipeline.training.data import captions
from pipeline.training.data.latent_cache import TrainingImage
from tests.pictures import encoded, scene
from tests.project import ROOT

PTERANODON = Subject("pteranodon", "Pteranodon", "pterosaur")
WORDS = {"Pteranodon": "<pteranodon> <pteranodon>_1"}


def _train(**changes):
    train = params_module.load(ROOT / "params.yaml").train
    section = train.textual_inversion.model_copy(update={"vectors": 2, "initial": "b"})
    return train.model_copy(update={"resolution_px": 16, "batch_size": 1, "textual_inversion": section, **changes})


def _said(base, sentences, **changes):
    logged: list[str] = []
    picture = TrainingImage("train/01.png", encoded(scene(1, (20, 20))), sentences[0], sentences=tuple(sentences))
    preflight.check("sd", base, _train(**changes), PTERANODON, [picture], logged.append)
    return [line for line in logged if line.startswith("warning")]


@pytest.mark.parametrize("sentence", ["Pteranodons over the sea", "Pteranodontidae, reconstruction", "a bird"])
def test_a_name_within_another_word_is_no_name(sentence):
    named = captions.named(sentence, "Pteranodon")
    assert named == f"Pteranodon, {sentence}"
    assert spell(named, WORDS) == f"<pteranodon> <pteranodon>_1, {sentence}"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Pteranodon", "the PTERANODON, flying"),
        ("Pteranodon", "Pteranodon's nest"),
        ("Raphus cucullatus", "a raphus\n cucullatus"),
        ("Raphus sp.", "Raphus sp. at sea"),
    ],
)
def test_every_sentence_with_the_name_has_the_new_words(name, sentence):
    assert captions.named(sentence, name) == sentence
    assert "<dodo>" in spell(sentence, {name: "<dodo>"})


@pytest.mark.parametrize("sentence", ["Pteranodons abc", "Pteranodon abcdefghij", "<pteranodon> abcdefghi", "abcd"])
def test_tokens_are_counted_before_loading_as_they_are_read(sd_base, sentence):
    train = _train(method="textual_inversion")
    taught = textual_inversion.attach(
        family("sd").load(sd_base), train, PTERANODON, 1, family("sd").load(sd_base).dtype
    ).components
    lost = tokens_cut(taught, sentence)
    logged = _said(sd_base, [sentence], method="textual_inversion")
    assert len(logged) == (lost > 0)
    assert not lost or f"its last {lost} {'are' if lost > 1 else 'is'} cut" in logged[0]


def test_the_sentence_with_most_tokens_counts_and_not_the_one_with_most_letters(sd_base):
    """The tiny base has a token for each letter, and one for a new word however long it is."""
    long, short = "Pteranodon " * 3, "abcdefghijklm"
    assert len(long) > len(short)
    (logged,) = _said(sd_base, [long, short], method="textual_inversion")
    assert "its last 3 are cut" in logged
