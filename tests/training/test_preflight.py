"""Whether a caption names the species, and how much of it is cut: one rule, before weights are loaded and after."""

import pytest

from pipeline.core.records import Subject
from pipeline.families import family
from pipeline.families.model_components import spell, tokens_cut
from pipeline.methods import method
from pipeline.training.data import captions
from pipeline.training.data.latent_cache import TrainingImage
from tests.pictures import encoded, scene
from tests.training.world import preflight_log, train_params

PTERANODON = Subject("pteranodon", "Pteranodon", "pterosaur")
TOKENS = {"Pteranodon": "<pteranodon> <pteranodon>_1"}


def _train(**changes):
    return train_params(resolution_px=16, batch_size=1, textual_inversion={"vectors": 2, "initial": "b"}, **changes)


def _warnings(base, sentences, **changes):
    picture = TrainingImage("train/01.png", encoded(scene(1, (20, 20))), sentences[0], sentences=tuple(sentences))
    logged = preflight_log(base, _train(**changes), PTERANODON, [picture])
    return [line for line in logged if line.startswith("warning")]


@pytest.mark.parametrize("sentence", ["Pteranodons over the sea", "Pteranodontidae, reconstruction", "a bird"])
def test_a_name_within_another_word_is_no_name(sentence):
    named = captions.with_name(sentence, "Pteranodon")
    assert named == f"Pteranodon, {sentence}"
    assert spell(named, TOKENS) == f"<pteranodon> <pteranodon>_1, {sentence}"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Pteranodon", "the PTERANODON, flying"),
        ("Pteranodon", "Pteranodon's nest"),
        ("Raphus cucullatus", "a raphus\n cucullatus"),
        ("Raphus sp.", "Raphus sp. at sea"),
    ],
)
def test_every_sentence_with_the_name_has_the_placeholder_tokens(name, sentence):
    assert captions.with_name(sentence, name) == sentence
    assert "<dodo>" in spell(sentence, {name: "<dodo>"})


@pytest.mark.parametrize("sentence", ["Pteranodons abc", "Pteranodon abcdefghij", "<pteranodon> abcdefghi", "abcd"])
def test_tokens_are_counted_before_loading_as_after_it(sd_base, sentence):
    train = _train(method="textual_inversion")
    base = family("sd").load(sd_base)
    attached = method("textual_inversion").attach(base, train, PTERANODON, 1, base.dtype)
    n_cut = tokens_cut(attached.components, sentence)
    warnings = _warnings(sd_base, [sentence], method="textual_inversion")
    assert len(warnings) == (n_cut > 0)
    assert not n_cut or f"its last {n_cut} {'are' if n_cut > 1 else 'is'} cut" in warnings[0]


def test_the_sentence_with_most_tokens_counts_and_not_the_one_with_most_letters(sd_base):
    """The tiny base has a token for each letter, and one for a placeholder token however long it is."""
    long, short = "Pteranodon " * 3, "abcdefghijklm"
    assert len(long) > len(short)
    (warning,) = _warnings(sd_base, [long, short], method="textual_inversion")
    assert "its last 3 are cut" in warning
