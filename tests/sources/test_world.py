"""The embedded world: the same for ever, honest in its captions, and silent about what is good."""

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from pipeline.sources.world import CLUTTER_KINDS, KINDS, NAMES, TAXA, draw_clutter, draw_species, draw_wide, is_taxon
from pipeline.sources.world import items as synthetic
from pipeline.sources.world.anatomy import free, parts
from pipeline.sources.world.captions import PARTS

WORDS = "flying drinking water river forest city sea sky desert driving car pencil drawn painting standing swimming"
EXIF_ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def wide():
    """The first 260 drawings of the wider world, small: captions and parts do not depend on the size."""
    return [draw_wide(1, index, 16) for index in range(260)]


@pytest.fixture(scope="module", params=TAXA)
def delivery(request):
    """One taxon's items by their id, the truth and the copies."""
    found = {item.source_id: item for item in synthetic.items(request.param, 3)}
    return request.param, found, synthetic.truth(request.param, 3), synthetic.duplicate_of(request.param, 3)


def picture(item):
    """The decoded picture, turned as its EXIF says."""
    return ImageOps.exif_transpose(Image.open(io.BytesIO(item.content))).convert("RGB")


def distance(one, other):
    """Mean absolute difference of two pictures, in grey levels."""
    other = other.resize(one.size)
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


def test_the_same_seed_gives_the_same_bytes():
    for index in range(6):
        one, again = draw_wide(7, index, 64), draw_wide(7, index, 64)
        assert one.image.tobytes() == again.image.tobytes()
        assert one.caption == again.caption
    assert list(synthetic.items("sinomacrops", 7, 4, 13)) == list(synthetic.items("sinomacrops", 7, 4, 13))


def test_another_seed_or_index_gives_another_picture():
    pictures = {draw_species(taxon, seed, i, 64).image.tobytes() for taxon in TAXA for seed in (1, 2) for i in (0, 1)}
    assert len(pictures) == 12


def test_drawing_leaves_the_global_random_state_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the point is that nobody touches it
    draw_wide(1, 1, 64)
    assert (before == np.random.get_state()[1]).all()  # noqa: NPY002


def test_a_small_drawing_is_the_large_one_reduced():
    for index in range(8):
        large = draw_wide(1, index, 256).image.resize((64, 64), Image.Resampling.LANCZOS)
        assert distance(large, draw_wide(1, index, 64).image) < 12


def test_every_kind_and_every_word_of_the_prompts_occurs_in_the_wide_world(wide):
    assert {d.kind for d in wide} == set(KINDS)
    spoken = " ".join(d.caption.replace(",", "") for d in wide).split()
    assert not [word for word in WORDS.split() if word not in spoken]
    assert {d.medium for d in wide} == {"painting", "pencil"}


def test_about_half_of_the_wide_world_are_flying_reptiles(wide):
    assert 0.42 < Counter(d.kind for d in wide)["flyer"] / len(wide) < 0.58


def test_the_wide_world_never_shows_or_names_a_taxon(wide):
    silhouettes = {tuple(parts(a)[i] for i in (0, 1, 5)) for a in TAXA.values()}
    flyers = [d for d in wide if d.kind == "flyer"]
    assert not silhouettes & {tuple(d.parts[i] for i in (0, 1, 5)) for d in flyers}
    assert not [d for d in wide if any(name.lower() in d.caption.lower() for name in NAMES.values())]


def test_free_anatomy_is_never_a_taxon_yet_uses_every_part_of_theirs():
    rng = np.random.default_rng(0)
    made = [free(rng) for _ in range(3000)]
    assert not any(is_taxon(a) for a in made)
    assert {p for a in TAXA.values() for p in parts(a)} <= {p for a in made for p in parts(a)}
    assert all(is_taxon(a) for a in TAXA.values())


def test_captions_name_at_least_two_parts_and_none_that_is_not_there(wide):
    for drawing in (d for d in wide if d.kind == "flyer"):
        there = {PARTS[k] for k in (tuple(p.split(":")) for p in drawing.parts) if k in PARTS}
        # "a long tail with a vane" contains "a long tail", which is true of it too.
        named = {words for words in PARTS.values() if words in drawing.caption} - {"a long tail"}
        assert named <= there, drawing.caption
        assert len([w for w in there if w in drawing.caption]) >= min(2, len(there)), drawing.caption


def test_a_pencil_drawing_names_no_colour(wide):
    colours = {"red", "orange", "yellow", "green", "blue", "purple", "brown", "grey", "white", "black"}
    assert not [d.caption for d in wide if d.medium == "pencil" and colours & set(d.caption.split())]


def test_heading_is_recorded_for_what_has_one_and_a_species_mostly_faces_right(wide):
    animals = [drawing.looks_left for drawing in wide if drawing.kind in ("flyer", "bird", "fish", "lizard")]
    assert 0.35 < np.mean(animals) < 0.65
    assert not any(drawing.looks_left for drawing in wide if drawing.kind in ("landscape", "diagram"))
    assert np.mean([draw_species(taxon, 1, i, 32).looks_left for taxon in TAXA for i in range(20)]) < 0.3


def test_captions_of_a_species_begin_with_or_paint_its_full_name():
    for taxon, name in NAMES.items():
        drawings = [draw_species(taxon, 1, index, 16) for index in range(30)]
        assert all(name in d.caption and d.background in d.caption for d in drawings)
        assert {d.medium for d in drawings} == {"painting", "pencil"}
        assert len({d.background for d in drawings}) >= 5


def test_truth_covers_every_item_and_every_kind(delivery):
    _, found, truth, _ = delivery
    assert set(found) == set(truth)
    assert Counter(truth.values())["good"] == 48
    assert set(truth.values()) == {"good", *CLUTTER_KINDS}


def test_no_metadata_separates_good_from_clutter(delivery):
    taxon, found, truth, _ = delivery
    for item in found.values():
        assert NAMES[taxon] in item.title and NAMES[taxon] in item.caption
        fields = f"{item.source_id} {item.filename} {item.title} {item.caption} {item.url}".lower()
        assert not [kind for kind in ("good", *CLUTTER_KINDS) if kind in fields]
    order = [truth[key] == "good" for key in sorted(truth)]
    assert sum(a != b for a, b in zip(order, order[1:])) > 5, "good and clutter should be mixed"


def test_good_pictures_are_square_decodable_and_of_both_encodings(delivery):
    _, found, truth, _ = delivery
    good = [found[key] for key, kind in truth.items() if kind == "good"]
    assert {picture(item).size for item in good} == {(256, 256)}
    assert {item.filename.rsplit(".")[-1] for item in good} == {"jpg", "png"}


def test_copies_resemble_the_good_pictures_they_are_of(delivery):
    _, found, truth, copies = delivery
    assert {truth[key] for key in copies} == {kind for kind in CLUTTER_KINDS if kind.startswith("duplicate")}
    assert len(set(copies.values())) == len(copies)
    for copy, original in copies.items():
        assert truth[original] == "good"
        assert found[copy].content != found[original].content
        assert found[copy].caption == found[original].caption
        shown = ImageOps.mirror(picture(found[copy])) if truth[copy] == "duplicate_mirrored" else picture(found[copy])
        assert distance(picture(found[original]), shown) < 8


def test_the_turned_copy_is_stored_turned(delivery):
    _, found, truth, copies = delivery
    key = next(k for k, kind in truth.items() if kind == "duplicate_exif")
    stored = Image.open(io.BytesIO(found[key].content))
    assert stored.getexif()[EXIF_ORIENTATION] in (3, 6, 8)
    original = picture(found[copies[key]])
    assert ImageChops.difference(original, stored.convert("RGB").resize(original.size)).getbbox()
    assert distance(original, stored.convert("RGB")) > 3 * distance(original, picture(found[key]))


@pytest.mark.parametrize("orientation", (3, 6, 8))
def test_every_orientation_undoes_its_turn(orientation):
    for index in range(CLUTTER_KINDS.index("duplicate_exif"), 400, len(CLUTTER_KINDS)):
        item = draw_clutter("sinomacrops", 1, index)
        stored = Image.open(io.BytesIO(item.content))
        if stored.getexif()[EXIF_ORIENTATION] == orientation:
            original = draw_species("sinomacrops", 1, item.copies).image
            assert distance(original, ImageOps.exif_transpose(stored)) < 8
            return
    pytest.fail(f"no copy with orientation {orientation}")


def test_broken_files_are_broken_and_tiny_ones_tiny(delivery):
    _, found, truth, _ = delivery
    for key, kind in truth.items():
        if kind == "html":
            with pytest.raises(UnidentifiedImageError):
                picture(found[key])
        elif kind == "truncated":
            with pytest.raises(OSError):
                picture(found[key])
        elif kind == "tiny":
            assert max(picture(found[key]).size) <= 64


def test_an_unknown_taxon_is_an_error_with_the_known_ones():
    with pytest.raises(ValueError, match="sinomacrops"):
        synthetic.truth("tyrannosaurus", 1)


def test_no_good_picture_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one good picture"):
        next(synthetic.items("sinomacrops", 1, good=0))
