"""What an entry suggests: a key, a noun, and sources that fit a taxon that lives or does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.taxonomy import suggest
from pipeline.taxonomy.inaturalist import Observed
from pipeline.taxonomy.resolve import Resolved

TAXON = Resolved("Pteranodon longiceps", "Pteranodon longiceps", "species", pbdb=52932, gbif=7, extant=False)


@pytest.mark.parametrize(
    ("clade", "noun"),
    [
        (("Animalia", "Chordata", "Reptilia", "Pterosauria", "Pteranodontidae"), "flying reptile"),
        (("Reptilia", "Dinosauria", "Theropoda", "Tyrannosauridae"), "dinosaur"),
        (("Reptilia", "Dinosauria", "Theropoda", "Aves", "Columbidae"), "bird"),  # the narrowest wins
        (("Reptilia", "Ichthyosauria"), "marine reptile"),
        (("Synapsida", "Mammalia", "Carnivora"), "mammal"),
        (("Animalia", "Chordata", "Mammalia", "Proboscidea", "Elephantidae"), "elephant"),
        (("Arthropoda", "Trilobita"), "trilobite"),
        (("Animalia", "Vetulicolia"), "animal"),
        ((), "animal"),
    ],
)
def test_the_noun_follows_the_clade(clade, noun):
    assert suggest.class_noun(replace(TAXON, clade=clade))[0] == noun


def test_a_clade_may_itself_be_in_the_table():
    assert suggest.class_noun(replace(TAXON, accepted="Pterosauria")) == ("flying reptile", "Pterosauria")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Sinomacrops bondei", "sinomacrops"),
        ("Ornithocheiromorpha", "ornithocheiromorpha"),
        ("Pterodaüstro", "pterodaustro"),
    ],
)
def test_the_key_is_the_genus_in_plain_letters(name, key):
    assert suggest.key(name) == key


def kinds(taxon: Resolved, active: bool) -> list[str]:
    return [s.fields["kind"] for s in suggest.sources(taxon) if s.active is active]


def test_an_extinct_species_is_searched_where_it_is_painted():
    assert kinds(TAXON, active=True) == ["commons", "commons", "openverse", "gbif"]
    assert kinds(TAXON, active=False) == ["phylopic"]
    first = suggest.sources(TAXON)[0]
    assert first.fields == {"kind": "commons", "category": "Pteranodon"}


def test_observations_are_requested_only_of_extant_taxa():
    seen = replace(TAXON, observed=Observed(4, extinct=False))
    assert "inaturalist" in kinds(seen, active=False)
    assert "inaturalist" in kinds(replace(seen, extant=True), active=True)
    assert "inaturalist" in kinds(replace(seen, extant=None), active=False)


def test_without_a_key_of_gbif_it_is_no_source():
    assert "gbif" not in kinds(replace(TAXON, gbif=None), active=True)


def test_a_name_that_is_not_accepted_is_searched_for_too():
    taxon = replace(TAXON, name="Ornithocheiromorpha", accepted="Ornithocheiroidea")
    searched = [s.fields["search"] for s in suggest.sources(taxon) if "search" in s.fields]
    assert searched == ["Ornithocheiroidea", "Ornithocheiromorpha"]
