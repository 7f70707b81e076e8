import io
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.curation import duplicates, union_find
from pipeline.curation.duplicates import DuplicatesCheck, DuplicatesParams
from pipeline.io.images import codecs
from tests.curation.scored import PARAMS, all_of, picture, row, scores
from tests.pictures import encoded, scene

LIMITS = DuplicatesParams.of(PARAMS)
REENCODED = Path(__file__).parents[3] / "shared/data/hostile/reencode"


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    return Image.open(io.BytesIO(encoded(image, "JPEG", quality=quality))).convert("RGB")


def _check(*rows, remaining=None):
    frame = scores(*rows)
    return DuplicatesCheck().check(frame, all_of(frame) if remaining is None else np.array(remaining), PARAMS)


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
    original = picture("original", scene(1), label="keep")
    findings = _check(original, picture("copy", copy(scene(1))))
    assert list(findings.drops) == [1]
    assert findings.drops[1].code == "duplicate"
    assert findings.drops[1].sentence.startswith(says.replace("larger", "kept by a person"))
    assert set(findings.columns["group"]) == {original["sha256"][:16]}


def test_strangers_are_left_alone():
    findings = _check(*(picture(str(seed), scene(seed)) for seed in range(30)))
    assert not findings.drops and not findings.doubts
    assert len(set(findings.columns["group"])) == 30


def test_the_largest_is_kept_wherever_it_stands():
    small, large = picture("small", scene(1).resize((128, 96))), picture("large", scene(1))
    assert list(_check(small, large).drops) == [0] and list(_check(large, small).drops) == [1]
    assert "'large', which is larger" in _check(small, large).drops[0].sentence


def test_one_that_people_kept_is_kept_before_a_larger_one():
    small, large = picture("small", scene(1).resize((128, 96)), label="keep"), picture("large", scene(1))
    assert "'small', which is kept by a person" in _check(small, large).drops[1].sentence


def test_the_copy_of_a_copy_is_in_the_group():
    chain = [picture("a", scene(1)), picture("b", ImageOps.mirror(scene(1))), picture("c", scene(1).resize((200, 150)))]
    leaders, _ = duplicates.groups(scores(*chain, picture("other", scene(2))), LIMITS)
    assert leaders.tolist() == [0, 0, 0, 3]


def test_a_better_copy_that_another_check_dropped_does_not_take_the_good_one_with_it():
    blown_up, good = picture("blown up", scene(1).resize((1024, 768))), picture("good", scene(1))
    findings = _check(blown_up, good, remaining=[False, True])
    assert not findings.drops
    assert set(findings.columns["group"]) == {good["sha256"][:16]}


def test_a_further_copy_that_is_no_better_changes_no_group():
    best, copy = picture("best", scene(1)), picture("copy", scene(1).resize((200, 150)))
    assert _check(best).columns["group"][0] == _check(copy, best).columns["group"][1]


def _flipped(digits: str, bits: int) -> str:
    return f"{int(digits, 16) ^ (2**bits - 1):016x}"


@pytest.mark.parametrize(
    ("phash", "dhash", "found"),
    [(6, 8, "copy"), (7, 8, "suspect"), (6, 9, "suspect"), (12, 14, "suspect"), (13, 0, ""), (0, 15, "")],
)
def test_the_distances_of_the_params_are_the_last_that_count(phash, dhash, found):
    one = row("one")
    other = row("other", phash=_flipped(one["phash"], phash), dhash=_flipped(one["dhash"], dhash))
    findings = _check(one, other)
    assert bool(findings.drops) == (found == "copy")
    assert sorted(findings.doubts) == ([0, 1] if found == "suspect" else [])
    if found == "suspect":
        assert findings.doubts[1] == "It may be a copy of 'one'."


def test_it_finds_what_comparing_every_pair_finds(monkeypatch):
    rng = np.random.default_rng(3)
    rows = [row("0")]
    for number in range(1, 150):  # families of pictures a few bits apart
        near = rows[rng.integers(len(rows))] if rng.random() < 0.6 else row(f"stranger {number}")
        hashes = {
            kind: f"{int(near[kind], 16) ^ int(rng.integers(0, 2**6)) << int(rng.integers(0, 50)):016x}"
            for kind in ("phash", "dhash", "mirrored_phash", "mirrored_dhash")
        }
        rows.append(row(str(number), **hashes))
    frame = scores(*rows)
    monkeypatch.setattr(duplicates, "BLOCK_PAIRS", 1000)  # several blocks
    assert duplicates.groups(frame, LIMITS)[0].tolist() == _by_every_pair(frame).tolist()


def _by_every_pair(frame) -> np.ndarray:
    table = sorted(frame.to_dict("records"), key=lambda row: [int(row[k], 16) for k in ("phash", "dhash")])
    place = {sha: number for number, sha in enumerate(frame["sha256"])}
    pairs = [
        (place[a["sha256"]], place[b["sha256"]])
        for a, b in combinations(table, 2)
        if any(
            _bits(a["phash"], b[way + "phash"]) <= 6 and _bits(a["dhash"], b[way + "dhash"]) <= 8
            for way in ("", "mirrored_")
        )
    ]
    return union_find.join(union_find.alone(len(frame)), *np.array(pairs).T)


def _bits(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


@pytest.mark.skipif(not REENCODED.is_dir(), reason="no re-encoded pictures (shared/data/hostile/reencode) here")
def test_real_pictures_in_several_formats_form_their_groups():
    decoded = {path.name: codecs.decode(path.read_bytes(), 50_000_000) for path in sorted(REENCODED.iterdir())}
    names = [name.split(".")[0].split("-")[0] for name in decoded]
    leaders, _ = duplicates.groups(scores(*(picture(name, image) for name, image in decoded.items())), LIMITS)
    named = sorted(sorted({names[member] for member in group}) for group in union_find.members(leaders))
    assert named == [["bricks"], ["harvesters"], ["hat"], ["hibiscus"], ["hippopotamus"]]
