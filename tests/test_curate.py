import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image, ImageChops, ImageFilter, ImageOps

from pipeline import collect as collecting
from pipeline import curate as stage
from pipeline.__main__ import main
from pipeline.core import params as params_module
from pipeline.core.errors import InputError
from pipeline.core.lineage import digest_tree
from pipeline.core.paths import Paths
from pipeline.curation.all_checks import all_checks
from pipeline.curation.verdicts import columns, recompute
from pipeline.curation.zero_shot import ZeroShotParams
from pipeline.io.files import atomic_write, parquet, reviews
from pipeline.io.images import image_cache
from pipeline.sources.world import items as synthetic
from tests.pictures import encoded, scene
from tests.project import ROOT, edit_params
from tests.tiny_captioner import write_captioner
from tests.tiny_clip import write_clip

TINY = ROOT / "pipeline/assets/tiny"
TAXA = ("sinomacrops", "dimorphodontidae", "ornithocheiromorpha")


@pytest.fixture
def project(tmp_path) -> Path:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "pictures").mkdir()
    return tmp_path


def _put(project: Path, **contents: bytes) -> None:
    for name, content in contents.items():
        (project / "pictures" / name).write_bytes(content)


def _curate(project: Path, trusted: bool = True, name: str = "Raphus cucullatus", **changed) -> tuple:
    """Collect and curate the folder `pictures`."""
    source = {"kind": "folder", "path": "pictures", "licence": "CC-BY-4.0", "author": "Jane Doe", "trusted": trusted}
    edit_params(project, {"species": {"dodo": {"name": name, "class_noun": "bird", "sources": [source]}}, **changed})
    paths = Paths(project, "dodo")
    params = params_module.load(paths.params)
    collecting.collect(params, paths)
    return stage.curate(params, paths), paths


def _verdicts(paths: Paths) -> pd.DataFrame:
    return pd.read_parquet(paths.curated / "verdicts.parquet").set_index("source_id")


def _on_a_page(image: Image.Image) -> Image.Image:
    page = Image.new("RGB", (400, 300), "white")
    page.paste(image, (50, 60))
    return page


@pytest.fixture
def mixed(project) -> Path:
    """Six good pictures and one of each thing that curation finds without CLIP."""
    _put(project, **{f"good{seed}": encoded(scene(seed)) for seed in range(6)})
    _put(
        project,
        bomb=encoded(Image.new("L", (2100, 1000))),
        cut=encoded(scene(7), "JPEG")[:3000],
        mirrored=encoded(ImageOps.mirror(scene(2)).resize((200, 150)), "JPEG"),
        soft=encoded(scene(8, (48, 48)).resize((300, 300), Image.Resampling.BICUBIC)),
        strip=encoded(scene(10, (600, 100))),
        tiny=encoded(_on_a_page(scene(9, (90, 90)))),
    )
    edit_params(project, {"curate": {"decode": {"max_pixels": 2_000_000}}})
    return project


def test_every_stored_picture_gets_a_verdict(mixed):
    report, paths = _curate(mixed)
    verdicts = _verdicts(paths)
    assert verdicts.loc[[f"good{seed}" for seed in range(6)], "verdict"].eq("keep").all()
    dropped = verdicts[verdicts["verdict"] == "drop"]
    assert dropped["code"].to_dict() == {
        "bomb": "too_many_pixels",
        "cut": "truncated",
        "mirrored": "duplicate",
        "soft": "blurred",
        "strip": "bad_aspect",
        "tiny": "too_small",
    }
    assert verdicts["sentence"].ne("").all() and verdicts.loc["tiny", "score"] == 90
    assert "A mirrored copy of 'good2', which is larger" in verdicts.loc["mirrored", "sentence"]
    assert verdicts.loc["mirrored", "group"] == verdicts.loc["good2", "group"] == verdicts.loc["good2", "sha256"][:16]
    assert pd.isna(verdicts.loc["cut", "width_px"]) and verdicts.loc["cut", "phash"] == ""
    assert report.lines[0].startswith("curate dodo: 5 to train on, 1 held out, 6 dropped (1 bad_aspect, 1 blurred")
    assert report.lines[0].endswith("see reports/curation/dodo/index.html")


def test_the_output_is_an_imagefolder_with_all_that_is_documented(mixed):
    _, paths = _curate(mixed)
    metadata = pd.read_parquet(paths.curated / "metadata.parquet")
    assert metadata.columns[0] == "file_name"
    assert set(metadata.columns) == set(_verdicts(paths).reset_index().columns)
    assert set(metadata["file_name"]) == {f"{p.parent.name}/{p.name}" for p in paths.curated.glob("*/*.png")}
    for row in metadata.to_dict("records"):
        assert row["file_name"] == f"{row['split']}/{row['sha256'][:16]}.png"
        with Image.open(paths.curated / row["file_name"]) as image:
            assert (image.mode, image.size) == ("RGB", (row["width_px"], row["height_px"]))
    card = atomic_write.read_card(paths.curated)
    assert (card["n_train"], card["n_holdout"], card["n_dropped"], card["by_code"]["kept"]) == (5, 1, 6, 6)
    assert "collect sharper ones or lower `curate.detail.min_sharpness`" in card["dropped"]
    assert "1 blurred (soft" in card["dropped"]


def test_what_people_look_at_is_an_output_of_its_own(mixed):
    _, paths = _curate(mixed)
    decoded = _verdicts(paths).query("pixel_sha256 != ''")
    assert {path.stem for path in paths.curation.glob("thumbs/*.webp")} == set(decoded["sha256"])
    page = (paths.curation / "contact_sheet.html").read_text()
    assert "<i>Raphus cucullatus</i>" in page and page.count("<figure>") == 12
    assert page.count('src="thumbs/') == len(decoded) == 10
    assert "Raphus cucullatus" in (paths.curation / "index.html").read_text()
    assert atomic_write.read_card(paths.curation)["digest"] == atomic_write.read_card(paths.curated)["digest"]


def test_the_same_input_gives_the_same_bytes(mixed):
    _, paths = _curate(mixed)
    first = [digest_tree(folder) for folder in (paths.curated, paths.curation)]  # over the names and bytes of all files
    for folder in (paths.curated, paths.curation, paths.work):
        shutil.rmtree(folder)
    _curate(mixed)
    assert [digest_tree(folder) for folder in (paths.curated, paths.curation)] == first


def test_raw_pictures_are_never_touched(mixed):
    _, paths = _curate(mixed)
    before = digest_tree(paths.raw)
    stage.curate(params_module.load(paths.params), paths)
    assert digest_tree(paths.raw) == before


def test_pictures_are_reduced_and_captions_never_empty(project):
    _put(project, a=encoded(scene(1, (1600, 1200))), b=encoded(scene(2)))
    (project / "pictures/a.txt").write_text("a dodo at rest")
    _, paths = _curate(project, curate={"image_side_px": 300, "caption": "a picture of {name}, a {class_noun}"})
    verdicts = _verdicts(paths)
    with Image.open(paths.curated / verdicts.loc["a", "file_name"]) as image:
        assert image.size == (400, 300)
    assert verdicts.loc["a", ["width_px", "height_px"]].to_list() == [1600, 1200]
    assert verdicts["caption"].to_dict() == {"a": "a dodo at rest", "b": "a picture of Raphus cucullatus, a bird"}


def test_a_captioning_model_captions_pictures_without_caption_and_title(project):
    write_captioner(project / "blip")
    _put(project, a=encoded(scene(1)), b=encoded(scene(2)), tiny=encoded(scene(3, (40, 40))))
    (project / "pictures/a.txt").write_text("a dodo at rest")
    _, paths = _curate(project, curate={"captioner": "blip"})
    captions = _verdicts(paths)["caption"]
    assert captions["a"] == "a dodo at rest" and captions["tiny"] == "Raphus cucullatus"
    assert captions["b"] not in ("", "Raphus cucullatus")
    with pytest.raises(InputError, match="'nowhere' is not there; download it or empty `curate.captioner`"):
        _curate(project, curate={"captioner": "nowhere"})


def test_the_digest_follows_what_is_trained_on(project):
    _put(project, a=encoded(scene(1)), b=encoded(scene(2)))

    def digest(**changed) -> str:
        return atomic_write.read_card(_curate(project, **changed)[1].curated)["digest"]

    first = digest()
    _put(project, c=encoded(scene(3, (20, 20))))
    assert digest() == first
    assert digest(name="Dodo") != first
    assert digest(name="Raphus cucullatus", curate={"image_side_px": 100}) != first


def test_a_trusted_source_needs_no_clip_at_all(project):
    _put(project, a=encoded(scene(1)), b=encoded(scene(2)))
    _, paths = _curate(project, base={"clip": "nowhere"})
    verdicts = _verdicts(paths)
    assert verdicts["sentence"].eq("Chosen by hand, so CLIP did not judge what it shows.").all()
    assert verdicts["clip_margin"].isna().all() and verdicts["clip_class"].eq("").all()


def test_others_are_judged_by_clip(project):
    write_clip(project / "clip")
    _put(project, a=encoded(scene(1)), b=encoded(scene(2)))
    _, paths = _curate(project, trusted=False, base={"clip": "clip"}, curate={"zero_shot": {"min_margin": -2.0}})
    verdicts = _verdicts(paths)
    assert verdicts["clip_margin"].abs().between(0, 2).all()
    assert verdicts["clip_class"].isin(ZeroShotParams.of(params_module.load(paths.params).curate).classes).all()
    assert verdicts["score"].equals(verdicts["clip_margin"].rename("score"))


def test_when_nothing_is_left_the_message_says_why_and_the_sheet_can_be_seen(project):
    write_clip(project / "clip")
    _put(project, a=encoded(scene(1)), b=encoded(scene(2).filter(ImageFilter.GaussianBlur(9))))
    with pytest.raises(InputError, match="of 2 it dropped 1 blurred, 1 wrong_class.*`trusted: true`.*_sheet.html"):
        _curate(project, trusted=False, base={"clip": "clip"}, curate={"zero_shot": {"min_margin": 2.0}})
    aside = project / ".work/curate/dodo/refused"
    assert "wrong_class" in (aside / "contact_sheet.html").read_text()
    assert set(pd.read_parquet(aside / "verdicts.parquet")["code"]) == {"blurred", "wrong_class"}
    assert len(list(aside.glob("thumbs/*.webp"))) == 2 and (aside / "card.json").is_file()
    assert not (project / "data/curated/dodo").exists() and not (project / "reports/curation/dodo").exists()


def _break_weights(clip: Path) -> None:
    (clip / "model.safetensors").write_bytes(b"broken")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (shutil.rmtree, "'clip' is not there"),
        (lambda clip: (clip / "config.json").unlink(), "'clip' has no config.json"),
        (lambda clip: (clip / "config.json").write_text("{"), "clip' has a config.json that is no JSON"),
        (_break_weights, "clip/model.safetensors' is damaged or no safetensors"),
    ],
)
def test_a_clip_that_is_not_there_is_one_sentence(project, spoil, says):
    spoil(write_clip(project / "clip"))
    _put(project, a=encoded(scene(1)))
    with pytest.raises(InputError, match=says):
        _curate(project, trusted=False, base={"clip": "clip"})


@pytest.fixture
def untrusted(project) -> Path:
    """Eight pictures, a copy and a small one, none of them trusted; the tiny CLIP lets some pass."""
    write_clip(project / "clip")
    _put(project, **{f"picture{seed}": encoded(scene(seed)) for seed in range(8)})
    _put(project, copy=encoded(scene(0).resize((200, 150))), small=encoded(scene(9, (60, 60))))
    edit_params(project, {"base": {"clip": "clip"}, "curate": {"zero_shot": {"min_margin": -2.0}}})
    return project


def _recomputed(paths: Paths, **changed) -> pd.DataFrame:
    params = params_module.load(paths.params)
    scores = parquet.read(paths.curated / "scores.parquet")
    checks = all_checks()
    sections = {
        name: checks[name].Params.of(params.curate).model_copy(update=section) for name, section in changed.items()
    }
    curate = params.curate.model_copy(update=sections)
    return recompute(scores, reviews.read(paths.reviews), curate, params.seed, checks)


def _review(project: Path, paths: Paths, **verdicts: str) -> None:
    table = _verdicts(paths)
    rows = [(table.loc[name, "sha256"], verdict, "", "Ada", "2026-03-01") for name, verdict in verdicts.items()]
    reviews.write(paths.reviews, pd.DataFrame(rows, columns=reviews.COLUMNS, dtype="str"))


def test_every_verdict_can_be_recomputed_from_stored_scores(untrusted):
    _, paths = _curate(untrusted, trusted=False)
    _review(untrusted, paths, picture3="drop", small="keep")
    _curate(untrusted, trusted=False)
    stored = parquet.read(paths.curated / "verdicts.parquet")
    again = _recomputed(paths)
    pd.testing.assert_frame_equal(again, stored[list(again)].astype(columns(all_checks())))
    assert dict(stored["code"].value_counts()) == {"kept": 8, "duplicate": 1, "reviewed": 1}


def test_another_threshold_gives_other_verdicts_from_the_same_scores(untrusted):
    _, paths = _curate(untrusted, trusted=False)
    margins = parquet.read(paths.curated / "verdicts.parquet")["clip_margin"].dropna()
    middle = float(margins.median())
    changed = {"zero_shot": {"min_margin": middle}, "size": {"min_side_px": 10}}
    again = _recomputed(paths, **changed)
    _curate(untrusted, trusted=False, curate=changed)
    stored = parquet.read(paths.curated / "verdicts.parquet")
    assert again["code"].tolist() == stored["code"].tolist()
    assert {"wrong_class", "kept"} <= set(again["code"]) and "too_small" not in set(again["code"])


def test_a_changed_threshold_decodes_no_picture_again(untrusted, monkeypatch):
    _curate(untrusted, trusted=False)

    def never(*args, **kwargs):
        raise AssertionError("decoded again")

    monkeypatch.setattr(stage, "decoded", lambda jobs, *rest: never() if jobs else iter(()))
    monkeypatch.setattr(image_cache, "open_image", never)
    report, _ = _curate(untrusted, trusted=False, curate={"size": {"min_side_px": 70}})
    assert "1 too_small" in report.lines[0]


def test_a_damaged_or_lost_picture_of_an_earlier_run_is_made_again(untrusted):
    _, paths = _curate(untrusted, trusted=False)
    first = digest_tree(paths.curated)
    work = sorted((untrusted / ".work/curate/dodo").rglob("*.png"))
    work[0].write_bytes(b"damaged")
    work[1].with_suffix(".json").unlink()
    _curate(untrusted, trusted=False)
    assert digest_tree(paths.curated) == first


def test_what_was_kept_of_earlier_runs_changes_no_byte(untrusted):
    lacking = (untrusted / "pictures/picture5").read_bytes()
    (untrusted / "pictures/picture5").unlink()
    _curate(untrusted, trusted=False)
    _put(untrusted, picture5=lacking)
    _, paths = _curate(untrusted, trusted=False)  # all but one from .work
    first = digest_tree(paths.curated)
    shutil.rmtree(paths.work / "curate")
    _curate(untrusted, trusted=False)
    assert digest_tree(paths.curated) == first


def test_people_outrank_every_score_and_it_is_said(untrusted):
    _, paths = _curate(untrusted, trusted=False)
    _review(untrusted, paths, picture1="drop", small="keep")
    report, _ = _curate(untrusted, trusted=False)
    table = _verdicts(paths)
    assert table.loc["picture1", ["verdict", "code", "sentence"]].tolist() == ["drop", "reviewed", "Ada dropped it."]
    assert table.loc["small", ["verdict", "decided_by", "label"]].tolist() == ["keep", "review", "keep"]
    assert "2 pictures judged by people (data/reviews/dodo.csv)" in report.lines


def test_a_review_of_pictures_that_are_not_there_is_a_warning(project):
    _put(project, a=encoded(scene(1)), b=encoded(scene(2)))
    _, paths = _curate(project)
    rows = [("e" * 64, "drop", "", "", ""), (_verdicts(paths).loc["a", "sha256"], "keep", "", "", "")]
    reviews.write(paths.reviews, pd.DataFrame(rows, columns=reviews.COLUMNS, dtype="str"))
    report, _ = _curate(project)
    assert report.lines[-1].startswith("warning: data/reviews/dodo.csv judges 1 picture that this collection")
    assert f"({'e' * 16})" in report.lines[-1]


def test_a_review_that_is_no_table_is_one_sentence(project):
    _put(project, a=encoded(scene(1)))
    (project / "data/reviews").mkdir(parents=True)
    (project / "data/reviews/dodo.csv").write_text(f"sha256,verdict,why,who,when\n{'a' * 64},maybe,,,\n")
    with pytest.raises(InputError, match="dodo.csv, line 2: the verdict is 'maybe'"):
        _curate(project)


def test_what_its_source_calls_a_specimen_is_dropped(project):
    _put(project, a=encoded(scene(1)), b=encoded(scene(2)), c=encoded(scene(3)))
    _, paths = _curate(project)
    manifest = parquet.read(paths.raw / "manifest.parquet")
    manifest.loc[manifest["source_id"] == "b", "shows"] = "specimen"
    parquet.write(paths.raw / "manifest.parquet", manifest)
    stage.curate(params_module.load(paths.params), paths)
    assert _verdicts(paths)["code"].to_dict() == {"a": "kept", "b": "specimen", "c": "kept"}


def test_a_collection_of_an_earlier_version_is_still_read(project):
    _put(project, a=encoded(scene(1)), b=encoded(scene(2)))
    _, paths = _curate(project)
    table = _verdicts(paths)
    parquet.write(paths.raw / "manifest.parquet", parquet.read(paths.raw / "manifest.parquet").drop(columns=["shows"]))
    stage.curate(params_module.load(paths.params), paths)
    assert _verdicts(paths)["file_name"].equals(table["file_name"])


def test_the_few_shot_classifier_learns_from_labels(untrusted):
    """Pictures of one colour to keep, of another to drop: embeddings that hold colours tell them apart by a few."""
    tint = {"red": (255, 60, 60), "blue": (60, 60, 255)}
    for name, colour in tint.items():
        tinted = {
            f"{name}{seed}": ImageChops.multiply(scene(seed), Image.new("RGB", (256, 192), colour))
            for seed in range(20, 28)
        }
        _put(untrusted, **{key: encoded(image) for key, image in tinted.items()})
    _, paths = _curate(untrusted, trusted=False)
    labels = {f"red{n}": "keep" for n in range(20, 24)} | {f"blue{n}": "drop" for n in range(20, 24)}
    _review(untrusted, paths, **labels)
    report, _ = _curate(
        untrusted, trusted=False, curate={"zero_shot": {"few_shot_labels": 4}, "series": {"cosine": 1.0}}
    )
    table = _verdicts(paths)
    others = table.loc[[f"{name}{n}" for name in tint for n in range(24, 28)]]
    assert others["code"].tolist() == ["kept"] * 4 + ["wrong_class"] * 4
    assert others["decided_by"].eq("few-shot").all()
    assert table.loc[list(labels), "decided_by"].eq("review").all()


def test_calibrating_prints_how_good_the_scores_are_and_changes_nothing(untrusted):
    _, paths = _curate(untrusted, trusted=False)
    params = params_module.load(paths.params)
    assert "make labels with `paleo review dodo`" in stage.calibrate(params, paths).lines[0]
    _review(untrusted, paths, picture1="drop", picture2="keep", picture4="keep", small="keep", copy="drop")
    before = digest_tree(paths.root)
    report = stage.calibrate(params, paths)
    assert digest_tree(paths.root) == before
    assert "3 to keep and 2 to drop" in report.lines[0]
    assert report.lines[1] == "precision 66.7 %, recall 66.7 %"  # picture1 is kept, small is not
    text = "\n".join(report.lines)
    assert "too_small" in text and "duplicate" in text and "the highest F1 is at" in text


def test_the_command_line_calibrates(untrusted, monkeypatch, capsys):
    _curate(untrusted, trusted=False)
    monkeypatch.chdir(untrusted)
    assert main(["curate", "dodo", "--calibrate"]) == 0
    assert "no picture of dodo is labelled" in capsys.readouterr().out


def test_calibrating_before_curating_says_what_to_run(project):
    params = params_module.load(project / "params.yaml")
    with pytest.raises(InputError, match="scores.parquet is missing; run the stage that writes it"):
        stage.calibrate(params, Paths(project, "sinomacrops"))


def test_without_a_collection_it_says_what_to_run(project):
    params = params_module.load(project / "params.yaml")
    with pytest.raises(InputError, match="card.json is missing; run the stage that writes it"):
        stage.curate(params, Paths(project, "sinomacrops"))


def test_a_picture_missing_from_the_collection_says_what_to_run(project):
    _put(project, a=encoded(scene(1)), b=encoded(scene(2)))
    _, paths = _curate(project)
    next((paths.raw / "images").iterdir()).unlink()
    with pytest.raises(InputError, match="run `paleo collect dodo` again"):
        stage.curate(params_module.load(paths.params), paths)


@pytest.mark.skipif(not (TINY / "model.safetensors").is_file(), reason="the embedded base model has not been built")
@pytest.mark.parametrize("taxon", TAXA)
def test_the_embedded_world_is_curated_well(project, taxon):
    edit_params(project, {"base": {"clip": str(TINY)}})
    paths = Paths(project, taxon)
    params = params_module.load(paths.params)
    collecting.collect(params, paths)
    stage.curate(params, paths)
    kept = pd.read_parquet(paths.curated / "metadata.parquet")["source_id"]
    truth, originals = synthetic.truth(taxon, params.seed), synthetic.duplicate_of(taxon, params.seed)
    shown = [originals.get(name, name) for name in kept]  # a copy stands for its original, once
    good = {name for name in shown if truth[name] == "good"}
    assert len(good) / len(shown) >= 0.95
    assert len(good) / sum(kind == "good" for kind in truth.values()) >= 0.9
