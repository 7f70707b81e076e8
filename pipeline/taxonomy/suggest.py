"""Suggestions for a species entry in params.yaml: a key, a noun for the class, and sources."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from pipeline.core.params import MAX_KEY_LENGTH
from pipeline.taxonomy.resolve import Resolved
from pipeline.taxonomy.usage import same_name

DEFAULT_NOUN = "animal"
# words that a base model has learnt, by clade; the narrowest clade of a path wins
NOUNS = {
    "Pterosauria": "flying reptile",
    "Dinosauria": "dinosaur",
    "Saurischia": "dinosaur",
    "Ornithischia": "dinosaur",
    "Theropoda": "dinosaur",
    "Sauropodomorpha": "dinosaur",
    "Ichthyosauromorpha": "marine reptile",
    "Ichthyosauria": "marine reptile",
    "Sauropterygia": "marine reptile",
    "Plesiosauria": "marine reptile",
    "Mosasauridae": "marine reptile",
    "Mosasauroidea": "marine reptile",
    "Thalattosauria": "marine reptile",
    "Testudines": "turtle",
    "Testudinata": "turtle",
    "Pantestudines": "turtle",
    "Crocodylomorpha": "crocodile",
    "Crocodylia": "crocodile",
    "Squamata": "lizard",
    "Serpentes": "snake",
    "Reptilia": "reptile",
    "Sauropsida": "reptile",
    "Aves": "bird",
    "Avialae": "bird",
    "Mammalia": "mammal",
    "Proboscidea": "elephant",
    "Chiroptera": "bat",
    "Cetacea": "whale",
    "Felidae": "cat",
    "Canidae": "dog",
    "Equidae": "horse",
    "Ursidae": "bear",
    "Rhinocerotidae": "rhinoceros",
    "Amphibia": "amphibian",
    "Temnospondyli": "amphibian",
    "Anura": "frog",
    "Chondrichthyes": "shark",
    "Elasmobranchii": "shark",
    "Osteichthyes": "fish",
    "Actinopterygii": "fish",
    "Actinopteri": "fish",
    "Placodermi": "fish",
    "Coelacanthimorpha": "fish",
    "Trilobita": "trilobite",
    "Eurypterida": "sea scorpion",
    "Insecta": "insect",
    "Odonata": "dragonfly",
    "Arachnida": "spider",
    "Malacostraca": "crustacean",
    "Ammonoidea": "ammonite",
    "Cephalopoda": "cephalopod",
    "Gastropoda": "snail",
    "Bivalvia": "shell",
    "Plantae": "plant",
}


@dataclass(frozen=True)
class Suggestion:
    """A source as params.yaml names it, the reason, and whether it is used before its `#` is removed."""

    fields: dict[str, str | int]
    comment: str
    active: bool = True


def key(name: str) -> str:
    """The key of a species: its genus, or a higher taxon's name, in lower case and plain letters."""
    plain = unicodedata.normalize("NFKD", name.split()[0]).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:MAX_KEY_LENGTH] or "species"


def class_noun(taxon: Resolved) -> tuple[str, str]:
    """A noun that a base model has learnt, and the clade that it was guessed from ("" when none is known)."""
    path = (*taxon.clade, taxon.accepted)
    return next(((NOUNS[name], name) for name in reversed(path) if name in NOUNS), (DEFAULT_NOUN, ""))


def sources(taxon: Resolved) -> tuple[Suggestion, ...]:
    """Where pictures of the taxon may be found, the best first; at least one of them is active."""
    return (*_commons(taxon), _openverse(taxon), *_gbif(taxon), *_inaturalist(taxon), _phylopic(taxon))


def _commons(taxon: Resolved) -> tuple[Suggestion, ...]:
    genus, *epithet = taxon.accepted.split()
    comment = "its genus, with other species of it" if epithet else "with subcategories"
    searched = [taxon.accepted] + ([] if same_name(taxon.name, taxon.accepted) else [taxon.name])
    category = Suggestion({"kind": "commons", "category": genus}, comment)
    found = (Suggestion({"kind": "commons", "search": _phrase(name)}, "what no category holds") for name in searched)
    return (category, *found)


def _phrase(name: str) -> str:
    """As a search query: two words together, not somewhere each."""
    return f'"{name}"' if " " in name else name


def _openverse(taxon: Resolved) -> Suggestion:
    return Suggestion({"kind": "openverse", "query": taxon.accepted}, "museums and photo sites; matches words")


def _gbif(taxon: Resolved) -> tuple[Suggestion, ...]:
    if taxon.gbif is None:
        return ()
    comment = (
        "mostly fossils: marked as such, useful as negatives" if taxon.extant is False else "observations and specimens"
    )
    return (Suggestion({"kind": "gbif", "taxon_key": taxon.gbif}, comment),)


def _inaturalist(taxon: Resolved) -> tuple[Suggestion, ...]:
    """Only what lives is observed; what is filed under an extinct taxon is museum pieces and mistakes."""
    if taxon.observed is None:
        return ()
    comment = "observations of living members" if taxon.extant else "extinct: museum pieces and mistakes"
    fields: dict[str, str | int] = {"kind": "inaturalist", "taxon_id": taxon.observed.key}
    return (Suggestion(fields, comment, active=bool(taxon.extant)),)


def _phylopic(taxon: Resolved) -> Suggestion:
    return Suggestion({"kind": "phylopic", "name": taxon.accepted}, "silhouettes: no texture to learn from", False)
