from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.core import params as params_module
from pipeline.core import renamed_params
from pipeline.core.errors import ParamsError
from pipeline.core.prompts import fill_prompt
from pipeline.core.renamed_params import RENAMED
from pipeline.curation.all_checks import all_checks
from pipeline.curation.size import SizeParams

TEXT = (Path(__file__).parents[2] / "params.yaml").read_text()


def _message(old: str, new: str) -> str:
    assert old in TEXT
    with pytest.raises(ParamsError) as caught:
        params_module.parse(TEXT.replace(old, new, 1), "params.yaml")
    return str(caught.value)


def test_a_species_key_of_300_letters_is_refused_in_a_sentence_that_can_be_read():
    source = "{kind: folder, path: a, licence: CC0-1.0, author: A}"
    entry = f"{'a' * 300}: {{name: A, class_noun: bird, sources: [{source}]}}"
    text = f"seed: 1\nspecies:\n  {entry}\n"
    with pytest.raises(ParamsError, match="it must have at most 100 characters") as error:
        params_module.parse(text, "params.yaml")
    assert len(str(error.value)) < 500


def test_the_shipped_params_are_valid_and_frozen():
    params = params_module.parse(TEXT, "params.yaml")
    assert params.train.snapshots == (50, 250, 500)
    with pytest.raises(ValueError, match="frozen"):
        params.train.steps = 3


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("learning_rate:", "lerning_rate:", "unknown key 'train.lerning_rate'; did you mean 'learning_rate'?"),
        ("\ntrain:", "\ntrian:", "unknown key 'trian'; did you mean 'train'?"),
        ("good: 48", "god: 48", "unknown key 'species.sinomacrops.sources.0.god'; did you mean 'good'?"),
        ("class_noun: flying", "class_nuon: flying", "did you mean 'class_noun'?"),
        ("  steps: 500", "  steps: many", "train.steps is 'many': it must be a whole number"),
        ("  steps: 500", "  steps: -1", "train.steps is -1: it must be greater than 0"),
        ("snapshots: [50, 250, 500]", "snapshots: 50", "train.snapshots is 50: it must be a list, such as [a, b]"),
        ("kind: mse", "kind: hubert", "train.loss.kind is 'hubert': it must be 'mse' or 'huber'"),
        ("compile: false", "compile: maybe", "train.compile is 'maybe': it must be true or false"),
        ("\ntrain:", "\ntrain:\n  lroa: {rank: 3}", "unknown key 'train.lroa'; did you mean 'lora'?"),
        ("\nbase:", "\nbase:\nbase2:", "base is empty: it must be a section with keys; remove the line to use the"),
        ("  sinomacrops:", "  Sino macrops:", "species.Sino macrops is 'Sino macrops': it must match ^[a-z0-9]"),
        ('"{name}"', '"{nmae}"', "the prompt '{nmae}' has an unknown placeholder"),
        (
            "kind: synthetic",
            "kind: sintetic",
            "species.sinomacrops.sources.0.kind is 'sintetic': known are synthetic, folder",
        ),
        ("{kind: synthetic, ", "{", "key 'kind' is missing under 'species.sinomacrops.sources.0'"),
        ("good: 48", "good: -1", "params.yaml: species.sinomacrops.sources.0.good is -1: it must be greater than 0"),
        ("taxon: sinomacrops, ", "", "key 'taxon' is missing under 'species.sinomacrops.sources.0'"),
        ("  drop_vanished: false", "  replay: ''", "'collect.replay' is no param any more (tests set"),
        ("  drop_vanished: false", "  openverse: {}", "read from the environment variables OPENVERSE_CLIENT_ID and"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_mend(old, new, expected):
    assert expected in _message(old, new)


def test_a_wrong_source_is_one_mistake():
    """pydantic counts only the valid entries of a list and would add that there are none."""
    assert _message("good: 48", "good: -1").count("params.yaml:") == 1
    entry = "- {kind: synthetic, taxon: sinomacrops, good: 48, clutter: 20}"
    assert "species.sinomacrops.sources has 0 entries; it needs at least 1" in _message(entry, "[]")


def test_the_rate_limits_are_those_of_the_sources_in_use_unless_params_have_their_own():
    assert list(params_module.parse(TEXT, "params.yaml").collect.hosts) == ["default"]
    entry = "{kind: synthetic, taxon: sinomacrops, good: 48, clutter: 20}"
    used = TEXT.replace(entry, "{kind: openverse, query: dodo}", 1)
    hosts = params_module.parse(used, "params.yaml").collect.hosts
    assert hosts.keys() == {"default", "api.openverse.org"} and hosts["api.openverse.org"].requests_per_day == 200
    own = "  hosts: {api.openverse.org: {connections: 1, requests_per_second: 9}}\n  drop_vanished: false"
    hosts = params_module.parse(used.replace("  drop_vanished: false", own), "params.yaml").collect.hosts
    assert hosts["api.openverse.org"].requests_per_second == 9 and hosts["default"].connections == 2


def test_params_are_read_the_same_from_their_own_dump():
    params = params_module.parse(TEXT, "params.yaml")
    assert type(params).model_validate(params.model_dump(mode="json", by_alias=True)) == params


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("train.look", "'train.look' is called 'train.monitor' now"),
        ("gone.away", "'gone.away' is no param any more (it was never used)"),
    ],
)
def test_an_old_key_is_refused_with_its_new_name_and_the_command_that_renames(monkeypatch, key, expected):
    monkeypatch.setitem(renamed_params.REMOVED, "gone.away", "it was never used")
    section, name = key.split(".")
    with pytest.raises(ParamsError) as caught:
        params_module.parse(f"{section}: {{{name}: 1}}\n", "params.yaml")
    assert str(caught.value) == (f"params.yaml: {expected}; `paleo params --rewrite` renames old keys, comments kept")


def test_a_key_written_twice_is_named_with_its_line():
    with pytest.raises(ParamsError, match="not valid YAML: line 2, 'seed: 2', has the key 'seed' a second time"):
        params_module.parse("seed: 1\nseed: 2\n", "params.yaml")


def test_a_missing_key_is_named():
    assert "key 'seed' is missing at the top level" in _message("seed: 1871", "# seed")


def test_what_is_no_mapping_or_no_yaml_is_one_sentence():
    with pytest.raises(ParamsError, match="must hold sections"):
        params_module.parse("- a\n", "params.yaml")
    with pytest.raises(ParamsError, match="not valid YAML") as caught:
        params_module.parse("a: [1\nb: 2", "params.yaml")
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(ParamsError, match="is missing"):
        params_module.load(tmp_path / "params.yaml")


def test_prompts_are_filled():
    assert fill_prompt("{name}, a {class_noun}", name="A b", class_noun="bird") == "A b, a bird"


def test_the_old_keys_of_curation_are_refused_with_their_new_names():
    text = TEXT.replace("\ncurate:\n", "\ncurate:\n  min_side_px: 96\n  media: {painting: [a painting]}\n")
    with pytest.raises(ParamsError) as caught:
        params_module.parse(text, "params.yaml")
    assert "'curate.min_side_px' is called 'curate.size.min_side_px' now" in str(caught.value)
    assert "'curate.media' is called 'curate.medium.prompts' now" in str(caught.value)


@pytest.mark.parametrize("key", [key for key in RENAMED if key.startswith("curate.")])
def test_a_new_name_of_curation_is_a_key_that_exists_and_no_old_one(key):
    _, check, name = RENAMED[key].split(".")
    assert name in all_checks()[check].Params.model_fields
    assert RENAMED[key] not in RENAMED


def test_a_check_that_is_not_written_has_its_defaults_and_a_misspelt_one_is_refused():
    without = re.sub(r"\n  size:\n.*\n.*\n", "\n", TEXT)
    assert "max_aspect: 4" not in without
    assert SizeParams.of(params_module.parse(without, "params.yaml").curate) == SizeParams()
    assert "unknown key 'curate.siez'; did you mean 'size'?" in _message("\n  size:\n", "\n  siez:\n")
    assert "did you mean 'min_side_px'?" in _message("min_side_px: 96", "min_size_px: 96")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("learning_rate: 3.0e-4", "learning_rate: .inf", "train.learning_rate is inf: it must be a finite number"),
        ("noise_offset: 0.0", "noise_offset: .nan", "train.loss.noise_offset is nan: it must be a finite number"),
        ("  steps: 500", "  steps: 1000000000000", "train.steps is 1000000000000: it must be at most 10000000"),
        ("seed: 1871", f"seed: {2**63}", f"seed is {2**63}: it must be less than {2**63}"),
        ("width_px: 64", "width_px: 100000", "sample.width_px is 100000: it must be at most 16384"),
        ("  steps: 20\n", "  steps: 1001\n", "sample.steps is 1001: it must be at most 1000"),
        ("  sinomacrops:", f"  {'s' * 300}:", "it must have at most 100 characters"),
        ("name: Sinomacrops bondei", 'name: ""', "name is '': it must be a name on one line, and not be empty"),
    ],
)
def test_numbers_and_names_have_bounds(old, new, expected):
    message = _message(old, new)
    assert expected in message and len(message) < 500


def test_a_long_value_and_many_mistakes_make_no_long_sentence():
    assert len(_message("seed: 1871", f"seed: {'x' * 100_000}")) < 300
    many = "".join(f"k{number}: 1\n" for number in range(50))
    message = _message("seed: 1871", f"seed: 1871\n{many}")
    assert message.endswith("; and 40 more mistakes")


def test_the_file_opens_with_the_five_things_that_an_artist_changes():
    """Sections in the order of the file, and the keys of the training above the line."""
    above, line, _ = TEXT.partition("the line: the five end here")
    assert line
    raw = YAML(typ="safe").load(above.rpartition("\n")[0])
    assert list(raw) == ["species", "base", "sample", "gallery", "train"]
    assert list(raw["train"]) == ["method", "steps", "snapshots"]
    assert [int(number) for number in re.findall(r"^# (\d)\. ", above, re.MULTILINE)] == [1, 2, 3, 4, 5]
