import io
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from pipeline.curation import duplicates, hashes
from pipeline.io import images
from tests.curation.looks import PARAMS, all_of, look, task
from tests.pictures import encoded, scene

REENCODED = Path(__file__).parents[3] / "shared/data/hostile/reencode"


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    return Image.open(io.BytesIO(encoded(image, "JPEG", quality=quality))).convert("RGB")


def _check(looks, alive=None):
    return duplicates.check(looks, all_of(looks) if alive is None else alive, task())


@pytest.mark.parametrize(
    ("copy", "says"),
    [
        (lambda image: image.copy(), "The same pixels as 'original'"),
        (lambda image: _jpeg(image, 40), "A copy of 'original'"),
        (lambda image: image.resize((200, 150)), "A copy of 'original', which is larger"),
        (ImageOps.mirror, "A mirrored copy of 'original'"),
        (lambda image: ImageOps.mirror(image).resize((200, 150)), "A mirrored copy of 'original', which is larger"),
    ],
)
def test_copies_are_found(copy, says):
    original, other = look("original", scene(1)), look("copy", copy(scene(1)))
    findings = _check([original, other])
    assert list(findings.drops) == [other.sha256]
    assert findings.drops[other.sha256].code == "duplicate"
    assert findings.drops[other.sha256].sentence.startswith(says)
    assert findings.notes[original.sha256] == findings.notes[other.sha256] == {"group": original.sha256[:16]}


def test_strangers_are_left_alone():
    looks = [look(str(seed), scene(seed)) for seed in range(30)]
    findings = _check(looks)
    assert not findings.drops
    assert len({note["group"] for note in findings.notes.values()}) == 30


def test_the_largest_is_kept_wherever_it_stands():
    small, large = look("small", scene(1).resize((128, 96))), look("large", scene(1))
    for looks in ([small, large], [large, small]):
        assert list(_check(looks).drops) == [small.sha256]


def test_the_copy_of_a_copy_is_in_the_group():
    chain = [look("a", scene(1)), look("b", ImageOps.mirror(scene(1))), look("c", scene(1).resize((200, 150)))]
    assert len(duplicates.groups([*chain, look("other", scene(2))], PARAMS)) == 2


def test_a_better_copy_that_another_check_dropped_does_not_take_the_good_one_with_it():
    blown_up, good = look("blown up", scene(1).resize((1024, 768))), look("good", scene(1))
    findings = _check([blown_up, good], alive=frozenset([good.sha256]))
    assert not findings.drops
    assert findings.notes[blown_up.sha256] == findings.notes[good.sha256] == {"group": good.sha256[:16]}


def test_a_further_copy_that_is_no_better_changes_no_group():
    best, copy = look("best", scene(1)), look("copy", scene(1).resize((200, 150)))
    assert _check([best]).notes[best.sha256] == _check([copy, best]).notes[best.sha256]


def test_hashes_are_sixteen_digits():
    found = hashes.of(scene(1))
    assert len(hashes.text(found.phash)) == len(hashes.text(3)) == 16
    assert hashes.distance(0b1011, 0b0001) == 2


@pytest.mark.skipif(not REENCODED.is_dir(), reason="no re-encoded pictures (shared/data/hostile/reencode) here")
def test_real_pictures_in_several_formats_form_their_groups():
    decoded = {path.name: images.decode(path.read_bytes(), 50_000_000) for path in sorted(REENCODED.iterdir())}
    groups = duplicates.groups([look(name, image) for name, image in decoded.items()], PARAMS)
    named = sorted(sorted({member.name.split(".")[0].split("-")[0] for member in group}) for group in groups)
    assert named == [["bricks"], ["harvesters"], ["hat"], ["hibiscus"], ["hippopotamus"]]
