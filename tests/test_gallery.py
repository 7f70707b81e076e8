from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.core.paths import Paths
from pipeline.gallery import gallery
from pipeline.io.files import atomic_write, parquet
from pipeline.pages.releases import RegisteredSpecies, RegisteredVersion, release_pages
from tests import browser
from tests import site_fixture as fixture

EXTERNAL = {"external: {}  ": 'external: {"An artist & co": elsewhere}'}
PARAMS = fixture.params(**EXTERNAL)
DONE = ("sinomacrops", "dimorphodontidae")
NOTHING = "ornithocheiromorpha"
COLUMNS = ["real", "base", "step 50", "step 250", "step 500", "An artist & co"]
needs_chromium = pytest.mark.skipif(browser.CHROMIUM is None, reason=browser.MISSING)


def _outside_pictures(root: Path) -> None:
    """A folder from elsewhere: the 2nd and the 3rd prompt, and a file that is no picture for the 4th."""
    folder = root / "elsewhere/sinomacrops"
    for number in (2, 3):
        atomic_write.write_bytes(
            folder / f"{number:02d} #50% ?.png", fixture.png(fixture.picture(number, 90).resize((90, 60)))
        )
    atomic_write.write_bytes(folder / "04.jpg", b"<html>")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two finished species and one that was never run."""
    root = tmp_path_factory.mktemp("project with a space")
    for species in DONE:
        fixture.complete(PARAMS, root, species)
    _outside_pictures(root)
    gallery(PARAMS, Paths(root, ""))
    return root


@pytest.fixture(scope="module")
def tab():
    with browser.browser() as page:
        yield page


def _address(root: Path, page: str, view: str = "") -> str:
    return (root / "site" / page).as_uri() + (f"#{view}" if view else "")


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _data(root: Path, species: str) -> dict:
    page = (root / "site" / species / "index.html").read_text()
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL).group(1))


def test_the_same_results_give_the_same_bytes(root):
    before = _bytes(root / "site")
    report = gallery(PARAMS, Paths(root, ""))
    assert _bytes(root / "site") == before
    assert report.lines[0].startswith("site/index.html: 3 species")
    assert report.lines[1].startswith("ornithocheiromorpha: the curated pictures, ")
    assert not [name for name, content in before.items() if name.endswith("html") and str(root).encode() in content]


def test_a_site_is_whole_without_the_project(root):
    """Every address in the pages is inside the site (the overview's own folder for the species' pages)."""
    for page in (root / "site").rglob("*.html"):
        for address in re.findall(r'(?:src|href)="([^"#:]+)(?:#[^"]*)?"', page.read_text()):
            target = (page.parent / address).resolve()
            assert target.is_file(), f"{page} points to {address}"
            assert target.is_relative_to((root / "site").resolve())
    assert not [
        path for path in (root / "site").rglob("*") if path.is_symlink() or path.stat().st_nlink > 1 and path.is_file()
    ]


def test_the_table_has_every_checkpoint_with_the_same_seeds(root):
    data = _data(root, "sinomacrops")
    assert [column["label"] for column in data["columns"]] == COLUMNS
    assert [column["label"] for column in data["columns"] if column["chosen"]] == ["step 250"]
    assert data["seeds"] == [1, 2, 3, 4]
    assert len(data["prompts"]) == len(data["cells"]) == 6
    for row in data["cells"]:
        assert [[shot.get("label") for shot in cell] for cell in row[1:5]] == [
            ["seed 1", "seed 2", "seed 3", "seed 4"]
        ] * 4
    shot = data["cells"][1][3][2]
    assert shot["parameters"].endswith("Seed: 3, Size: 64x64")
    drawn = "paleo generate sinomacrops 'Sinomacrops bondei flying in the forest'"
    settings = "--seed 3 --steps 20 --guidance 3 --sampler DDIM --width 64 --height 64"
    assert shot["command"] == f"{drawn} {settings}"
    assert data["cells"][1][2][2]["command"] == f"{drawn} {settings} --step 50"
    assert shot["nearest"]["cosine"] == "0.725"
    assert data["cells"][1][1][2]["command"] == "", "no command draws with the base model"


def test_held_out_pictures_of_a_cell_differ(root):
    for row in _data(root, "sinomacrops")["cells"]:
        assert len({shot["src"] for shot in row[0]}) == fixture.HELD_OUT


def test_pictures_from_elsewhere_find_their_prompts_and_gaps_say_why(root):
    outside = [row[5] for row in _data(root, "sinomacrops")["cells"]]
    assert outside[0] == [{"reason": "no picture in sinomacrops"}]
    assert (outside[1][0]["width_px"], outside[1][0]["height_px"]) == (90, 60)
    assert re.fullmatch(r"external/0/01-0\.png", outside[1][0]["src"])
    assert outside[3][0]["reason"].startswith("04.jpg: ")
    other = [row[5] for row in _data(root, "dimorphodontidae")["cells"]]
    assert (
        other[0][0]["reason"]
        == "no picture in elsewhere called as the prompt; numbered ones belong into elsewhere/dimorphodontidae"
    )


def test_an_outside_folder_that_is_missing_is_an_error_and_leaves_the_old_site(root, tmp_path):
    before = _bytes(root / "site")
    wrong = fixture.params(**{"external: {}  ": 'external: {dalle: "pictures/dallE"}'})
    with pytest.raises(InputError, match="gallery.external.dalle: the folder 'pictures/dallE' is not there"):
        gallery(wrong, Paths(root, ""))
    assert _bytes(root / "site") == before


def test_a_species_that_was_never_run_says_how_to(root):
    page = (root / "site" / NOTHING / "index.html").read_text()
    assert "Nothing is there yet." in page
    assert "dvc repro train@ornithocheiromorpha" in page
    overview = (root / "site/index.html").read_text()
    assert "paleo run ornithocheiromorpha" in overview
    assert "31\u00a0%" in overview
    assert "3&nbsp;× CC-BY-4.0" in overview


@pytest.mark.parametrize("stages", [("curated",), ("curated", "model"), ("curated", "model", "samples"), ("model",)])
def test_half_a_pipeline_gives_half_a_page(tmp_path, stages):
    paths = Paths(tmp_path, "sinomacrops")
    if "curated" in stages:
        fixture.write_curated(PARAMS, paths)
    if "model" in stages:
        fixture.write_model(PARAMS, paths)
    if "samples" in stages:
        fixture.write_samples(PARAMS, paths)
    (tmp_path / "elsewhere").mkdir()
    gallery(PARAMS, Paths(tmp_path, ""))
    page = (tmp_path / "site/sinomacrops/index.html").read_text()
    assert "Not everything is there yet." in page
    assert ('<h2 id="credits">' in page) == ("curated" in stages)
    assert ('<h2 id="training">' in page) == ("model" in stages)
    assert ('<h2 id="samples">' in page) == ("samples" in stages)


def test_a_species_without_others_is_chosen_and_shown_by_another_metric(tmp_path):
    """With nothing to be taken for, species accuracy is unknown: null in every table."""
    paths = fixture.complete(PARAMS, tmp_path, "sinomacrops")
    (tmp_path / "elsewhere").mkdir()
    files = [paths.evaluation / name for name in ("metrics.json", "details/verdict.json")]
    metrics, verdict = map(atomic_write.read_json, files)
    unknown = {"value": None, "low": None, "high": None, "n": 0}
    verdict |= {"primary": "clip_i", "missing": {"species_accuracy": "there is no other species to compare with"}}
    for part in (*verdict["steps"].values(), metrics["base"], metrics["chosen"]):
        part["species_accuracy"] = unknown if isinstance(part["species_accuracy"], dict) else None
    for file, content in zip(files, (metrics, verdict), strict=True):
        atomic_write.write_json(file, content)
    rows = parquet.read(paths.evaluation / "details/per_image.parquet")
    lonely = rows.assign(species_hit=None, nearest_species="")
    parquet.write(paths.evaluation / "details/per_image.parquet", lonely)
    gallery(PARAMS, Paths(tmp_path, ""))
    page = (tmp_path / "site/sinomacrops/index.html").read_text()
    assert "species_accuracy is unknown: there is no other species to compare with" in page
    assert _data(tmp_path, "sinomacrops")["columns"][3]["note"] == "CLIP-I 0.781"
    assert "✓" not in page.split("</table>")[0]
    assert "Likeness (CLIP-I)" in (tmp_path / "site/index.html").read_text()


def test_an_adapter_loads_on_top_of_its_base(tmp_path):
    paths = fixture.complete(PARAMS, tmp_path, "sinomacrops")
    (tmp_path / "elsewhere").mkdir()
    atomic_write.write_card(paths.model, **{**atomic_write.read_card(paths.model), "method": "lora"})
    gallery(PARAMS, Paths(tmp_path, ""))
    page = (tmp_path / "site/sinomacrops/index.html").read_text()
    assert "StableDiffusionPipeline.from_pretrained(&#34;pipeline/assets/tiny&#34;)" in page
    assert "pipe.load_lora_weights(&#34;models/sinomacrops/step-000250&#34;, weight_name=" in page


def test_a_snapshot_that_was_not_sampled_is_a_column_of_gaps(tmp_path):
    paths = fixture.complete(PARAMS, tmp_path, "sinomacrops")
    (tmp_path / "elsewhere").mkdir()
    rows = parquet.read(paths.samples / "samples.parquet")
    parquet.write(
        paths.samples / "samples.parquet", rows[(rows["step"] != 500) & ~((rows["step"] == 50) & (rows["seed"] == 2))]
    )
    gallery(PARAMS, Paths(tmp_path, ""))
    cells = _data(tmp_path, "sinomacrops")["cells"]
    assert cells[0][4] == [{"reason": f"no sample of step 500 with seed {seed}"} for seed in (1, 2, 3, 4)]
    assert cells[0][2][1] == {"reason": "no sample of step 50 with seed 2"}


def test_the_pages_of_curation_and_validation_come_along_with_their_thumbnails_and_are_linked(root):
    page = (root / "site/sinomacrops/index.html").read_text()
    for name in ("curation.html", "contact_sheet.html", "validation.html"):
        assert (root / "site/sinomacrops" / name).is_file()
        assert f'<a href="{name}">' in page
        assert f'<a href="sinomacrops/{name}">' in (root / "site/index.html").read_text()
    verdicts = parquet.read(root / "data/curated/sinomacrops/verdicts.parquet")
    thumbs = {path.stem for path in (root / "site/sinomacrops/thumbs").iterdir()}
    assert thumbs == set(verdicts["sha256"]), "dropped ones are on the contact sheet too"


def test_what_the_validation_said_stands_beside_its_link(tmp_path):
    paths = fixture.complete(PARAMS, tmp_path, "sinomacrops")
    (tmp_path / "elsewhere").mkdir()
    verdict = atomic_write.read_json(paths.validation / "verdict.json")
    for changed, badge in (
        ({"warned": ["author"]}, '<span class="badge warn">accepted, 1 warning</span>'),
        ({"warned": []}, '<span class="badge good">accepted</span>'),
        ({"success": False, "stopped": ["licence"]}, '<span class="badge bad">refused</span>'),
    ):
        atomic_write.write_json(paths.validation / "verdict.json", {**verdict, **changed})
        gallery(PARAMS, Paths(tmp_path, ""))
        assert (tmp_path / "site/sinomacrops/index.html").read_text().count(badge) == 2, (
            "in the pictures, in the lineage"
        )


def test_without_the_pages_of_curation_nothing_links_to_them(tmp_path):
    paths = fixture.complete(PARAMS, tmp_path, "sinomacrops")
    (tmp_path / "elsewhere").mkdir()
    for name in ("index.html", "contact_sheet.html"):
        (paths.curation / name).unlink()
    gallery(PARAMS, Paths(tmp_path, ""))
    pages = [(tmp_path / "site" / name).read_text() for name in ("index.html", "sinomacrops/index.html")]
    assert not any("curation.html" in page or "contact_sheet.html" in page for page in pages)
    assert (tmp_path / "site/sinomacrops/thumbs").is_dir(), "the credits have theirs"


def test_results_of_different_trainings_are_not_shown_without_a_word(tmp_path):
    paths = fixture.complete(PARAMS, tmp_path, "sinomacrops")
    (tmp_path / "elsewhere").mkdir()
    for folder, key in ((paths.samples, "lineage_id"), (paths.curated, "digest")):
        card = atomic_write.read_card(folder)
        atomic_write.write_card(folder, **{**card, key: "another"})
    report = gallery(PARAMS, Paths(tmp_path, ""))
    page = (tmp_path / "site/sinomacrops/index.html").read_text()
    assert "The samples belong to another training than the model; paleo run sinomacrops" in page
    assert "The model belongs to earlier pictures" in page
    assert sum(line.startswith("warning: sinomacrops: ") for line in report.lines) == 3


def test_a_lost_file_is_named_and_the_old_site_stays(tmp_path):
    paths = fixture.complete(PARAMS, tmp_path, "sinomacrops")
    (tmp_path / "elsewhere").mkdir()
    gallery(PARAMS, Paths(tmp_path, ""))
    (paths.samples / "base/p00-s00001.png").unlink()
    with pytest.raises(InputError, match=r"base/p00-s00001.png cannot be read .* run the stage that writes it again"):
        gallery(PARAMS, Paths(tmp_path, ""))
    (paths.model / "train.csv").unlink()
    with pytest.raises(InputError, match=r"train.csv is missing or empty; run the training"):
        gallery(PARAMS, Paths(tmp_path, ""))
    assert (tmp_path / "site/index.html").is_file()
    assert not list(tmp_path.glob(".building-*"))


def test_what_others_wrote_cannot_become_markup(root):
    page = (root / "site/sinomacrops/index.html").read_text()
    assert "<script>alert(1)" not in page
    assert "Ada &lt;script&gt;alert(1)&lt;/script&gt; Lovelace" in page
    assert "An artist &amp; co" in page


@needs_chromium
@pytest.mark.parametrize("page", ["index.html", *(f"{species}/index.html" for species in (*DONE, NOTHING))])
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (400, True)])
def test_a_page_opens_from_disk_with_every_picture_and_nothing_else(root, tab, page, width, dark):
    tab.errors.clear()
    tab.requests.clear()
    tab.view(width, 800, dark=dark)
    tab.go(_address(root, page))
    pictures = tab.load_pictures()
    assert not [picture for picture in pictures if not picture["width"] and picture["src"]]
    assert not [
        picture for picture in pictures if picture["src"] and not picture["alt"] and "thumb" not in picture["src"]
    ]
    assert tab.errors == []
    assert not [request for request in tab.requests if not request.startswith(("file:", "data:"))]
    assert tab.run("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"


@needs_chromium
def test_the_keys_of_the_viewer_work(root, tab):
    tab.errors.clear()
    tab.view()
    tab.go(_address(root, "sinomacrops/index.html"))
    tab.run('document.querySelector(\'a.shot[data-row="1"][data-column="3"]\').click()')
    assert _view(tab) == {"prompt": "2", "column": "step-000250", "seed": "1"}
    for key, changed in (
        ("ArrowRight", {"column": "step-000500"}),
        ("[", {"column": "step-000250"}),
        ("[", {"column": "step-000050"}),
        ("]", {"column": "step-000250"}),
        ("ArrowDown", {"prompt": "3"}),
        ("ArrowUp", {"prompt": "2"}),
        (".", {"seed": "2"}),
        (",", {"seed": "1"}),
        ("2", {"column": "base"}),
        ("p", {}),
        ("5", {"column": "step-000500"}),
        ("d", {"mode": "difference"}),
        ("d", {"mode": None}),
        ("b", {"mode": "side"}),
        ("c", {"mode": "slider"}),
        ("f", {"mode": "flicker"}),
        ("f", {"mode": None}),
        ("3", {"column": "step-000050"}),
        ("p", {"pin": "step-000050"}),
        ("ArrowLeft", {"column": "base"}),
        ("+", {"zoom": "1.5"}),
        ("-", {"zoom": None}),
        ("i", {"info": "1"}),
        ("6", {"column": "x-An artist & co"}),
        ("[", {"column": "step-000500"}),
    ):
        before = _view(tab)
        tab.press(key)
        after = {**before, **{k: v for k, v in changed.items() if v}}
        assert _view(tab) == {k: v for k, v in after.items() if changed.get(k, v)}, key
    tab.press("?")
    assert tab.run("document.getElementById('help').open") is True
    tab.press("Escape")
    assert tab.run("document.getElementById('help').open") is False
    assert tab.run("document.getElementById('viewer').open") is True
    tab.press("Escape")
    assert tab.run("document.getElementById('viewer').open") is False
    assert tab.run("document.activeElement.dataset.column") == "4"
    assert tab.errors == []


@needs_chromium
def test_holding_space_shows_the_pinned_picture_in_the_same_place(root, tab):
    tab.view()
    tab.go("about:blank")
    tab.go(_address(root, "sinomacrops/index.html", "prompt=2&column=step-000500&seed=3"))
    visible = "filter(pane => getComputedStyle(pane).visibility == 'visible')"
    seen = f"[...document.querySelectorAll('.pane')].{visible}.map(pane => pane.id).join()"
    box = "JSON.stringify(document.querySelector('#%s .frame').getBoundingClientRect())"
    assert tab.run(seen) == "pane-now"
    tab.press(" ", up=False)
    assert tab.run(seen) == "pane-pin"
    assert tab.run(box % "pane-pin") == tab.run(box % "pane-now")
    tab.release(" ")
    assert tab.run(seen) == "pane-now"
    assert tab.run("document.getElementById('image-pin').src").endswith("samples/base/p01-s00003.png")


@needs_chromium
def test_an_address_holds_the_whole_view(root, tab):
    tab.view()
    tab.go("about:blank")
    tab.go(
        _address(
            root,
            "sinomacrops/index.html",
            "seeds=2,4&scores=1&prompt=3&column=step-000050&seed=4&mode=side&pin=real&zoom=2&info=1",
        )
    )
    assert tab.run("document.getElementById('stage').dataset.mode") == "side"
    assert tab.run("document.getElementById('which').textContent") == "step 50, seed 4"
    assert tab.run("document.getElementById('info').hidden") is False
    assert "Seed: 4" in tab.run("document.getElementById('parameters-text').textContent")
    assert tab.run("document.getElementById('nearest-line').textContent").startswith("cosine 0.625")
    assert "/real/" in tab.run("document.getElementById('image-pin').src")
    tab.press("Escape")
    assert _view(tab) == {"seeds": "2,4", "scores": "1"}
    cell = "document.querySelectorAll('tbody tr:first-child td:nth-child(3) .shot:not([hidden])')"
    shown = f"[...{cell}].map(shot => shot.dataset.shot).join()"
    assert tab.run(shown) == "1,3"
    assert tab.run("getComputedStyle(document.querySelector('.shot .score')).display") == "block"


@needs_chromium
@pytest.mark.parametrize(
    "view",
    ["prompt=99&column=base&seed=77&mode=x&zoom=999", "column=none", "seeds=9,x", "prompt=-1&column=base&zoom=nan"],
)
def test_an_address_that_makes_no_sense_does_no_harm(root, tab, view):
    tab.errors.clear()
    tab.go("about:blank")
    tab.go(_address(root, "sinomacrops/index.html", view))
    assert tab.run("document.querySelectorAll('#table tbody tr').length") == 6
    assert tab.errors == []


@needs_chromium
def test_the_table_is_walked_with_the_keyboard(root, tab):
    tab.view()
    tab.go("about:blank")
    tab.go(_address(root, "sinomacrops/index.html"))
    tab.run('document.querySelector(\'a.shot[data-row="0"][data-column="4"]\').focus()')
    place = "['row', 'column'].map(k => document.activeElement.dataset[k]).join()"
    for key, expected in (
        ("ArrowRight", "0,4"),
        ("ArrowDown", "1,4"),
        ("ArrowRight", "1,5"),
        ("ArrowUp", "1,5"),
        ("2", "1,1"),
        ("ArrowLeft", "1,0"),
    ):
        tab.press(key)
        assert tab.run(place) == expected, key
    tab.press("i")
    assert _view(tab) == {"prompt": "2", "column": "real", "seed": "1", "info": "1"}
    assert "Plate" in tab.run("document.getElementById('credit-line').textContent")


@needs_chromium
def test_a_gap_is_shown_as_a_gap(root, tab):
    tab.go("about:blank")
    tab.go(_address(root, "sinomacrops/index.html", "prompt=1&column=x-An+artist+%26+co"))
    assert tab.run("document.getElementById('remark').textContent") == "not generated: no picture in sinomacrops"
    assert tab.run("document.querySelector('td.external .gap').innerText").startswith("not generated")


@needs_chromium
def test_the_header_stays_in_sight_when_the_page_scrolls(root, tab):
    tab.view(1280, 700)
    tab.go("about:blank")
    tab.go(_address(root, "dimorphodontidae/index.html", "seeds=1,2"))
    tab.run("document.querySelector('#table tbody tr:nth-child(5)').scrollIntoView()")
    assert tab.run("document.querySelector('.samples-frame').classList.contains('fits')")
    assert tab.run("document.querySelector('#table').getBoundingClientRect().top") < -300
    assert tab.run("document.querySelector('#table thead th').getBoundingClientRect().top") == 0


@needs_chromium
def test_header_and_prompts_stay_in_sight_when_the_table_scrolls(root, tab):
    tab.view(400, 700)
    tab.go("about:blank")
    tab.go(_address(root, "sinomacrops/index.html"))
    tab.run("document.querySelector('.samples-frame').scrollTo(300, 200)")
    place = (
        "(({left, top}) => [Math.round(left), Math.round(top)])(document.querySelector('%s').getBoundingClientRect())"
    )
    frame, header = tab.run(place % ".samples-frame"), tab.run(place % "#table thead th:nth-child(2)")
    prompt = tab.run(place % "#table tbody th")
    assert tab.run("document.querySelector('.samples-frame').scrollTop") == 200
    assert abs(header[1] - frame[1]) <= 1
    assert abs(prompt[0] - frame[0]) <= 1


@needs_chromium
def test_text_to_paste_can_be_copied(root, tab):
    tab.go("about:blank")
    tab.go(_address(root, "sinomacrops/index.html"))
    assert tab.run("document.querySelectorAll('pre.copyable button').length") == tab.run(
        "document.querySelectorAll('pre.copyable').length"
    )
    tab.run("document.querySelector('#lineage ~ .columns pre.copyable button').click()")
    tab.wait("document.querySelector('#lineage ~ .columns pre.copyable button').textContent != 'Copy'")


@needs_chromium
def test_a_printed_page_has_the_table_and_no_controls(root, tab):
    tab.go("about:blank")
    tab.view(media="print")
    tab.go(_address(root, "sinomacrops/index.html"))
    assert tab.run("getComputedStyle(document.querySelector('.tools')).display") == "none"
    assert tab.run("getComputedStyle(document.querySelector('.samples-frame')).overflowX") == "visible"
    assert tab.run("getComputedStyle(document.querySelector('.samples thead th')).position") == "static"
    tab.view()


def _view(tab: browser.Page) -> dict[str, str]:
    return tab.run("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")


def test_the_training_shows_held_out_loss_and_previews(root):
    page = (root / "site/sinomacrops/index.html").read_text()
    assert "Held-out loss, of that before the training: step 0: 100.0" in page
    assert re.findall(r'<th scope="row">(Sinomacrops bondei, seed \d)</th>', page) == [
        "Sinomacrops bondei, seed 1",
        "Sinomacrops bondei, seed 2",
    ]
    shown = re.findall(r'<img src="(previews/[^"]+)"', page)
    assert len(shown) == 4, "two seeds at two steps"
    assert all((root / "site/sinomacrops" / name).is_file() for name in shown)
    assert "Held-out loss" not in (root / f"site/{NOTHING}/index.html").read_text()


def test_pages_of_curation_and_validation_lead_back_wherever_they_lie(root):
    """Beside the species' page in the site, far from it in reports/; the validation page is the real one's frame."""
    paths = Paths(root, "sinomacrops")
    back = paths.gallery_link(paths.curation)
    assert (paths.curation / back).resolve() == (root / "site/sinomacrops/index.html").resolve()
    for name in ("curation.html", "contact_sheet.html", "validation.html"):
        text = (root / "site/sinomacrops" / name).read_text()
        assert '<a href="index.html">gallery</a>' in text and back not in text
    assert '<a href="curation.html">' in (root / "site/sinomacrops/contact_sheet.html").read_text()


@needs_chromium
def test_what_is_registered_is_shown_when_it_is_there(root, tab):
    """From disk; nothing of the site changes, and without it the page says what makes it."""
    version = RegisteredVersion(3, ("champion",), "2026-07-01 10:00 UTC", "250", run_id="r")
    species = RegisteredSpecies("sinomacrops", "Sinomacrops <b>bondei", (version,))
    before, found = _bytes(root / "site"), {"version": "http://127.0.0.1:5000/#/models/sinomacrops/versions/3"}
    tab.view(390, 800)
    frame = "document.querySelector('object.versions')"
    tab.go(_address(root, "sinomacrops/index.html"))
    assert tab.run(f"{frame}.getBoundingClientRect().height") < 120, "no empty frame"
    assert "appear here after paleo run" in tab.run(f"{frame}.innerText")
    for name, text in release_pages([species], lambda *_: found).items():
        atomic_write.write_text(root / "releases" / name, text)
    for page in ("sinomacrops/index.html", "index.html"):
        tab.go(_address(root, page))
        assert tab.run(f"{frame}.getBoundingClientRect().height") > 200
        assert tab.run("document.documentElement.scrollWidth") == 390
        assert tab.errors == []
    tab.go((root / "releases/sinomacrops.html").as_uri())
    assert "2026-07-01 10:00 UTC" in tab.run("document.body.innerText")
    assert tab.run("document.querySelector('main a').href") == found["version"]
    assert tab.run("document.querySelector('b') === null"), "a name is text"
    assert _bytes(root / "site") == before
