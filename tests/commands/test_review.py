from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.commands.review import review, take_over
from pipeline.core.errors import InputError
from pipeline.core.paths import Paths
from pipeline.io.files import atomic_write, parquet, reviews
from pipeline.io.images.codecs import thumbnail
from tests import browser
from tests import site_fixture as fixture
from tests.pictures import encoded, scene
from tests.project import ROOT
from tests.verdict_rows import manifest, refused, row, sha, verdicts

PARAMS = fixture.params()
HEADER = "sha256,verdict,why,who,when\n"
needs_chromium = pytest.mark.skipif(browser.CHROMIUM is None, reason=browser.MISSING)
ROWS = (
    row("a", clip_margin=0.01, decided_by="review"),
    row("b", "wrong_class", clip_margin=-0.02, title='b "quoted", <b>bold</b>'),
    row("c", clip_margin=0.03, series="s"),
    row("d", "duplicate", clip_margin=0.5, series="s"),
    row("e", clip_margin=0.2),
    row("f", "truncated", width_px=None, height_px=None),
)
SHOWN = [sha(name) for name in "abcde"]  # in the order of the page


def _project(root: Path) -> Paths:
    paths = Paths(root, "sinomacrops")
    stored = verdicts(*ROWS)
    parquet.write(paths.curated / "verdicts.parquet", stored)
    parquet.write(paths.raw / "manifest.parquet", manifest(stored, refused("x", "licence_missing")))
    atomic_write.write_card(paths.curated, stage="curate", digest="f" * 64)
    for number, sha256 in enumerate(SHOWN):
        atomic_write.write_bytes(paths.curation / f"thumbs/{sha256}.webp", thumbnail(scene(number), 256))
    atomic_write.write_bytes(paths.raw / f"images/{SHOWN[0]}.png", encoded(scene(0, (640, 480))))
    atomic_write.write_text(paths.params, fixture.SHIPPED)
    return paths


@pytest.fixture
def paths(tmp_path) -> Paths:
    return _project(tmp_path / "a project")


@pytest.fixture(scope="module")
def tab():
    with browser.browser() as page:
        yield page


def _saved(paths: Paths, *lines: str) -> Path:
    file = paths.root / "saved.csv"
    file.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return file


def _open(tab: browser.Page, paths: Paths) -> None:
    """The page as on the first visit: this browser remembers nothing."""
    tab.errors.clear()
    tab.requests.clear()
    tab.view()
    tab.go((paths.work / "review/sinomacrops/index.html").as_uri())
    tab.run("localStorage.clear(), addEventListener('beforeunload', () => 0), 0")
    tab.go("about:blank")
    tab.go((paths.work / "review/sinomacrops/index.html").as_uri())


def _given(tab: browser.Page) -> dict[str, tuple[str, str]]:
    """What the page would save: verdict and reason by the picture's letter."""
    letters = {sha(name): name for name in "abcdef"}
    rows = tab.run("csv()").splitlines()[1:]
    return {letters[line[:64]]: tuple(line.split(",")[1:3]) for line in rows}


def _current(tab: browser.Page) -> str:
    return "abcde"[tab.run("document.querySelector('.pick[aria-current]').dataset.index * 1")]


def test_the_page_has_its_thumbnails_and_says_what_to_do_next(paths):
    report = review(PARAMS, paths)
    folder = paths.work / "review/sinomacrops"
    assert sorted(path.stem for path in (folder / "thumbs").iterdir()) == sorted(SHOWN)
    assert report.lines[0].startswith(
        ".work/review/sinomacrops/index.html: 5 pictures, 0 uncertain ones first, 0 judged"
    )
    assert "paleo review sinomacrops --import" in report.lines[-1]
    assert f'"../../../data/raw/sinomacrops/images/{SHOWN[0]}.png"' in (folder / "index.html").read_text()


def test_the_same_inputs_give_the_same_page(paths):
    review(PARAMS, paths)
    page = (paths.work / "review/sinomacrops/index.html").read_bytes()
    review(PARAMS, paths)
    assert (paths.work / "review/sinomacrops/index.html").read_bytes() == page


def test_a_set_of_which_nothing_was_kept_can_be_reviewed_too(paths):
    refused = paths.work / "curate/sinomacrops/refused"
    refused.parent.mkdir(parents=True)
    paths.curated.rename(refused)
    (paths.curation / "thumbs").rename(refused / "thumbs")
    assert review(PARAMS, paths).lines[0].startswith(".work/review/sinomacrops/index.html: 5 pictures")
    assert len(list((paths.work / "review/sinomacrops/thumbs").iterdir())) == 5


def test_without_a_curated_set_it_says_what_to_run(tmp_path):
    with pytest.raises(InputError, match="run `paleo curate sinomacrops`"):
        review(PARAMS, Paths(tmp_path, "sinomacrops"))
    with pytest.raises(InputError, match="run `paleo curate sinomacrops`"):
        take_over(PARAMS, Paths(tmp_path, "sinomacrops"), _saved(Paths(tmp_path, ""), f"{sha('a')},keep,,,"))


def test_saved_verdicts_are_merged_and_the_later_one_stands(paths):
    first = _saved(
        paths, f"{sha('a')},keep,,Ada,2026-03-01T10:00:00Z", f"{sha('b')},drop,bird,Ada,2026-03-01T10:00:05Z"
    )
    lines = take_over(PARAMS, paths, first).lines
    assert lines == (
        "data/reviews/sinomacrops.csv: 2 new, 0 changed; 1 to keep, 1 to drop",
        "then: git add data/reviews/sinomacrops.csv && paleo run sinomacrops",
    )
    second = _saved(
        paths, f"{sha('a')},drop,,Bob,2026-02-01", f"{sha('b')},keep,,Bob,2026-04-01", f"{sha('c')},keep,,Bob,"
    )
    assert take_over(PARAMS, paths, second).lines[0].endswith("1 new, 1 changed; 3 to keep, 0 to drop")
    assert list(reviews.read(paths.reviews).set_index("sha256").loc[[sha("a"), sha("b")], "who"]) == ["Ada", "Bob"]


def test_taking_over_the_same_file_twice_changes_nothing(paths):
    file = _saved(paths, f"{sha('a')},keep,,Ada,2026-03-01T10:00:00Z")
    take_over(PARAMS, paths, file)
    before = paths.reviews.read_bytes()
    assert take_over(PARAMS, paths, file).lines == (
        "data/reviews/sinomacrops.csv: 0 new, 0 changed; 1 to keep, 0 to drop",
    )
    assert paths.reviews.read_bytes() == before


def test_unknown_hashes_are_one_sentence_and_the_rest_is_taken_over(paths):
    strangers = [f"{sha(f'stranger {n}')},keep,,Ada,2026-03-01" for n in range(5)]
    report = take_over(PARAMS, paths, _saved(paths, *strangers, f"{sha('f')},drop,,Ada,2026-03-01"))
    assert (
        report.lines[0].startswith("warning: 5 pictures in ")
        and " and 2 more; the others are taken over" in report.lines[0]
    )
    assert "\n" not in report.lines[0]
    assert list(reviews.read(paths.reviews)["sha256"]) == [sha("f")]


def test_the_review_of_another_species_is_refused_and_nothing_changes(paths):
    with pytest.raises(InputError, match="none of the 1 picture .* is it the review of another species"):
        take_over(PARAMS, paths, _saved(paths, f"{sha('stranger')},keep,,Ada,2026-03-01"))
    with pytest.raises(InputError, match="holds no verdict"):
        take_over(PARAMS, paths, _saved(paths))
    with pytest.raises(InputError, match="is not there; save it on the page"):
        take_over(PARAMS, paths, paths.root / "nothing.csv")
    assert not paths.reviews.exists()


def test_the_command_line_writes_the_page_and_imports(paths, monkeypatch, capsys):
    monkeypatch.chdir(paths.root)
    shutil.copytree(ROOT / "pipeline/assets", paths.root / "pipeline/assets")
    assert main(["review", "sinomacrops", "--dry-run"]) == 0 and not (paths.work / "review").exists()
    assert main(["review", "sinomacrops"]) == 0
    file = _saved(paths, f"{sha('a')},keep,,Ada,2026-03-01", f"{sha('stranger')},keep,,,")
    assert main(["review", "sinomacrops", "--import", str(file)]) == 0
    assert "warning: 1 picture in" in capsys.readouterr().out
    file.write_text(HEADER + "x,keep,,,\n")
    assert main(["review", "sinomacrops", "--import", str(file)]) == 1
    assert "line 2: 'x' is no sha256" in capsys.readouterr().err


@needs_chromium
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_page_opens_from_disk_with_every_picture_and_nothing_else(paths, tab, width, dark):
    review(PARAMS, paths)
    _open(tab, paths)
    tab.view(width, 844, dark=dark)
    pictures = tab.load_pictures()
    assert len(pictures) == 6 and all(picture["width"] for picture in pictures)
    assert tab.run("document.getElementById('large').naturalWidth") == 640, "the file itself, not its thumbnail"
    assert tab.errors == []
    assert not [request for request in tab.requests if not request.startswith(("file:", "data:", "about:"))]
    assert tab.run("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"


@needs_chromium
def test_pictures_are_judged_with_the_keyboard_alone(paths, tab):
    review(PARAMS, paths)
    _open(tab, paths)
    assert tab.run("document.getElementById('count').textContent") == "0 of 5 reviewed"
    tab.press("k")
    assert _current(tab) == "b"
    tab.press("2")
    assert _given(tab) == {"a": ("keep", ""), "b": ("drop", "bird")}
    tab.press("D")
    assert _given(tab) == {"a": ("keep", ""), "b": ("drop", "bird"), "c": ("drop", ""), "d": ("drop", "")}
    assert _current(tab) == "e"
    for expected in ("c", "b", "a"):
        tab.press("u")
        assert _current(tab) == expected
    assert _given(tab) == {}
    tab.press("u")
    assert tab.run("document.getElementById('said').textContent") == "There is nothing to undo."
    assert tab.errors == []


@needs_chromium
def test_the_arrows_and_letters_walk_over_what_is_shown(paths, tab):
    review(PARAMS, paths)
    _open(tab, paths)
    for key, expected in (("l", "b"), ("ArrowRight", "c"), ("j", "b"), ("ArrowLeft", "a"), ("ArrowLeft", "a")):
        tab.press(key)
        assert _current(tab) == expected, key
    tab.run("document.querySelector('input[value=drop]').click()")
    assert _current(tab) == "b"
    tab.press("l")
    assert _current(tab) == "d"
    tab.press("k")
    assert tab.run("[...document.querySelectorAll('.pick:not([hidden])')].map(e => e.dataset.index).join()") == "1"
    tab.run("document.querySelector('input[value=open]').click()")
    shown = "[...document.querySelectorAll('[data-count]')].map(e => e.textContent).join()"
    assert tab.run(shown) == "5,0,4,1,4"
    tab.view(390, 844)
    tab.run("document.querySelector('input[value=all]').click()")
    tab.press("ArrowDown")
    assert tab.run("document.querySelector('.pick[aria-current]') === document.activeElement")


@needs_chromium
def test_why_takes_a_number_or_words_and_changes_a_reason_later(paths, tab):
    review(PARAMS, paths)
    _open(tab, paths)
    tab.press("w")
    assert tab.run("document.getElementById('why-title').textContent") == "Drop it, because"
    tab.press("3")
    assert _given(tab) == {"a": ("drop", "bat")} and _current(tab) == "b"
    tab.press("j")
    tab.press("w")
    for letter in "a 2nd bat":
        tab.press(letter)
    tab.press("Enter")
    assert _given(tab) == {"a": ("drop", "a 2nd bat")} and _current(tab) == "a"
    tab.press("w")
    tab.press("Escape")
    assert tab.run("document.getElementById('why').open") is False
    tab.press("?")
    assert tab.run("document.getElementById('help').open") is True
    tab.press("k")
    assert _given(tab) == {"a": ("drop", "a 2nd bat")}, "a key meant for the help judged a picture"
    tab.press("Escape")
    assert tab.errors == []


@needs_chromium
def test_a_reload_keeps_verdicts_and_undo(paths, tab):
    review(PARAMS, paths)
    _open(tab, paths)
    tab.press("k")
    tab.press("d")
    tab.go("about:blank")
    tab.go((paths.work / "review/sinomacrops/index.html").as_uri())
    assert _given(tab) == {"a": ("keep", ""), "b": ("drop", "")} and _current(tab) == "c"
    assert tab.run("document.getElementById('count').textContent") == "2 of 5 reviewed"
    tab.press("u")
    assert _given(tab) == {"a": ("keep", "")}


@needs_chromium
def test_verdicts_of_an_earlier_data_set_are_offered_and_not_lost(paths, tab):
    review(PARAMS, paths)
    _open(tab, paths)
    tab.press("k")
    atomic_write.write_card(paths.curated, stage="curate", digest="e" * 64)
    review(PARAMS, paths)
    tab.go("about:blank")
    tab.go((paths.work / "review/sinomacrops/index.html").as_uri())
    assert _given(tab) == {}
    assert "One verdict that you gave" in tab.run("document.getElementById('elsewhere').innerText")
    tab.run("document.getElementById('elsewhere-take').click()")
    assert _given(tab) == {"a": ("keep", "")}


@needs_chromium
def test_what_is_saved_is_what_the_project_reads(paths, tab, tmp_path):
    take_over(
        PARAMS, paths, _saved(paths, f"{sha('a')},drop,early,Bob,2999-03-01", f'{sha("f")},drop,"a ""b"", c",Bob,')
    )
    review(PARAMS, paths)
    _open(tab, paths)
    assert tab.run("document.getElementById('count').textContent") == "1 of 5 reviewed"
    assert tab.run("document.getElementById('machine').textContent") == "machine: dropped"
    tab.press("j")
    assert tab.run("document.getElementById('machine').hidden"), "that verdict is a person's"
    tab.press("k")  # over a verdict whose time is ahead of this clock
    tab.press("s")
    assert "Say who you are first" in tab.run("document.getElementById('unsaved').textContent")
    assert tab.run("document.activeElement.id") == "who"
    tab.run("document.activeElement.value = 'Ada, `A`'.replaceAll('`', String.fromCharCode(34)), 0")
    tab.run("document.activeElement.blur()")
    tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    tab.press("s")
    file = tmp_path / "sinomacrops.csv"
    tab.wait("document.getElementById('unsaved').textContent.startsWith('saved')")
    while not file.is_file():
        tab.run("new Promise(done => setTimeout(done, 20))")
    take_over(PARAMS, paths, file)
    assert paths.reviews.read_bytes() == file.read_bytes(), "the page writes as the project does"
    read = reviews.read(paths.reviews).set_index("sha256")
    assert read.loc[sha("a"), ["verdict", "why", "who"]].tolist() == ["keep", "", 'Ada, "A"']
    assert read.loc[sha("f"), ["verdict", "why", "who"]].tolist() == ["drop", 'a "b", c', "Bob"]


@needs_chromium
def test_undoing_what_was_saved_wins_when_it_is_saved_again(paths, tab):
    review(PARAMS, paths)
    _open(tab, paths)
    tab.run("document.getElementById('who').value = 'Ada', 0")
    tab.press("k")
    tab.press("j")
    tab.press("d")
    saved = paths.root / "saved.csv"
    saved.write_text(tab.run("csv()"))
    tab.run("done()")
    take_over(PARAMS, paths, saved)
    tab.press("u")
    saved.write_text(tab.run("csv()"))
    take_over(PARAMS, paths, saved)
    assert reviews.read(paths.reviews)["verdict"].tolist() == ["keep"]


@needs_chromium
def test_a_lost_original_is_replaced_by_its_thumbnail(paths, tab):
    review(PARAMS, paths)
    (paths.raw / f"images/{SHOWN[0]}.png").unlink()
    _open(tab, paths)
    tab.wait("document.getElementById('large').naturalWidth === 256")
