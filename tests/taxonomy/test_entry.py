"""The entry in params.yaml: it holds what was found, and the rest of the file is as it was, byte for byte."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.core import params as params_module
from pipeline.core.errors import ParamsError
from pipeline.taxonomy.entry import indent_of, insert, render, scalar
from pipeline.taxonomy.inaturalist import Observed
from pipeline.taxonomy.resolve import Resolved
from tests.taxonomy.recorded import LADDER

PARAMS = (Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8")
TAXON = Resolved(
    "Pterodactylus ingens",
    "Pteranodon",
    "genus",
    clade=LADDER,
    interval_ma=(86.3, 66.0),
    synonyms=("Geosternbergia", "Ornithostoma"),
    pbdb=38502,
    gbif=3240529,
    observed=Observed(12, extinct=True),
    extant=False,
    notes=("Pterodactylus ingens is not an accepted name; used Pteranodon (genus), which is wider",),
)


def added(before: str, after: str) -> str:
    """What is new in `after`; fails when anything of `before` is gone."""
    steps = list(difflib.ndiff(before.splitlines(keepends=True), after.splitlines(keepends=True)))
    assert not [step for step in steps if step.startswith(("- ", "? "))]
    return "".join(step[2:] for step in steps if step.startswith("+ "))


def test_the_entry_holds_what_was_found():
    after = insert(PARAMS, render("pteranodon", TAXON))
    species = params_module.parse(after, "test").species["pteranodon"]
    assert (species.name, species.class_noun) == ("Pterodactylus ingens", "flying reptile")
    taxon = species.taxon
    assert (taxon.accepted, taxon.rank, taxon.clade, taxon.interval_ma) == ("Pteranodon", "genus", LADDER, (86.3, 66.0))
    assert (taxon.synonyms, taxon.pbdb, taxon.gbif) == (("Geosternbergia", "Ornithostoma"), 38502, 3240529)
    assert [source.label for source in species.sources] == [
        "commons:Pteranodon",
        "commons:Pteranodon",
        'commons:"Pterodactylus ingens"',
        "openverse:Pteranodon",
        "gbif:occurrences:3240529",
    ]


def test_the_entry_is_commented():
    entry = render("pteranodon", TAXON)
    assert "    # Pterodactylus ingens is not an accepted name; used Pteranodon (genus), which is wider\n" in entry
    assert "# https://paleobiodb.org/classic/basicTaxonInfo?taxon_no=38502\n" in entry
    assert "# mostly fossils: marked as such, useful as negatives\n" in entry
    assert "      # - {kind: phylopic, name: Pteranodon}" in entry
    assert "      # - {kind: inaturalist, taxon_id: 12}" in entry
    species = render("pteranodon", replace(TAXON, name="Pteranodon longiceps", accepted="Pteranodon longiceps"))
    assert all(len(line) <= 120 for line in (entry + species).splitlines())


def test_not_one_other_byte_of_the_file_changes():
    entry = render("pteranodon", TAXON)
    after = insert(PARAMS, entry)
    assert added(PARAMS, after) == entry
    assert after.replace(entry, "", 1) == PARAMS
    assert after.index("  pteranodon:\n") < after.index("  # A species of your own")


def test_a_second_entry_follows_the_commented_sources_of_the_first():
    first, second = render("pteranodon", TAXON), render("other", replace(TAXON, name="Other"))
    assert insert(insert(PARAMS, first), second).count(first + second) == 1


@pytest.mark.parametrize(
    "text",
    [
        "species:\n  dodo: {name: a}",  # nothing after it, not even a line end
        "species:   # mine\n  dodo: {name: a}\n\n\nbase: {}\n",
        "species:\n    dodo:\n        name: a\n    # below\nbase: {}\n",
        "species:\r\n  dodo:\r\n    name: a\r\nbase: {}\r\n",
        "base: {}\n# about them\nspecies:\n# not indented\n  dodo: {name: a}\n# end\n",
        "species:\n  dodo:\n    name: a\n    sources:\n    - {kind: folder}\n    # - {kind: commons}\n\nbase: {}\n",
    ],
)
def test_an_entry_finds_its_place_in_any_block(text):
    entry = render("pteranodon", TAXON, indent=indent_of(text))
    after = insert(text, entry)
    newline = "\r\n" if "\r\n" in text else "\n"
    assert after.replace(entry.replace("\n", newline), "", 1).rstrip() == text.rstrip()
    before, now = YAML(typ="safe").load(text), YAML(typ="safe").load(after)
    assert list(now["species"]) == ["dodo", "pteranodon"]
    assert now["species"]["dodo"] == before["species"]["dodo"]
    assert now.get("base") == before.get("base")
    assert "\r" not in after.replace("\r\n", "") and ("\r\n" not in text or "\n" not in after.replace("\r\n", ""))


@pytest.mark.parametrize("text", ["species: {dodo: {name: a}}\n", "base: {}\n", "species:\nbase: {}\n", ""])
def test_a_missing_block_is_an_error(text):
    with pytest.raises(ParamsError, match="species"):
        insert(text, render("pteranodon", TAXON))


@pytest.mark.parametrize(
    "value",
    [
        "Pteranodon longiceps",
        "Acila (Truncacila) princeps",
        "yes",
        "Null",
        "on",
        "12",
        "a: b",
        "a #b",
        "- a",
        "{a}",
        "a, b",
        'a "b"',
        '"a" it\'s',
        '"a"',
        "it's",
        "ü",
        "",
        "x" * 300,
        "[a]",
        "tab\there",
    ],
)
def test_every_text_comes_back_as_it_was(value):
    quoted = scalar(value)
    assert YAML(typ="safe").load(f"a: {quoted}\n") == {"a": value}
    assert YAML(typ="safe").load(f"[{{a: {quoted}}}, 1]") == [{"a": value}, 1]


def test_hostile_names_stay_where_they_belong():
    evil = replace(
        TAXON, name="A: [}", accepted="x}\n- {kind: folder", synonyms=("a, b", "c]"), notes=("one\n  two: 3",)
    )
    after = insert(PARAMS, render("pteranodon", evil))
    species = params_module.parse(after, "test").species
    assert species["pteranodon"].taxon.synonyms == ("a, b", "c]")
    assert species["pteranodon"].name == "A: [}"
    assert len(species) == 4


def test_long_lists_are_wrapped_between_names():
    many = replace(TAXON, synonyms=tuple(f"Pteranodon species{'abcdefghij'[i % 10] * (i + 1)}" for i in range(40)))
    entry = render("pteranodon", many)
    assert params_module.parse(insert(PARAMS, entry), "test").species["pteranodon"].taxon.synonyms == many.synonyms


def test_a_noun_of_ones_own_outranks_the_guess():
    species = params_module.parse(insert(PARAMS, render("pteranodon", TAXON, "pterosaur")), "test").species
    assert species["pteranodon"].class_noun == "pterosaur"


def test_a_taxon_of_gbif_only_has_neither_age_nor_empty_lists():
    bare = Resolved("Rara avis", "Rara avis", "species", gbif=5)
    taxon = params_module.parse(insert(PARAMS, render("rara", bare)), "test").species["rara"].taxon
    assert (taxon.pbdb, taxon.interval_ma, taxon.clade, taxon.synonyms) == (None, None, (), ())
