import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image, ImageFilter, ImageOps

from pipeline import collect as collecting
from pipeline import curate as stage
from pipeline.core import params as params_module
from pipeline.core.errors import InputError
from pipeline.core.lineage import digest_tree
from pipeline.core.paths import Paths
from pipeline.io import outputs
from pipeline.sources import synthetic
from tests.pictures import encoded, scene
from tests.project import ROOT, edit_params
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
        tiny=encoded(scene(9, (90, 90))),
    )
    edit_params(project, {"curate": {"decode": {"max_pixels": 2_000_000}}})
    return project


def test_every_stored_picture_gets_a_verdict(mixed):
    report, paths = _curate(mixed)
    verdicts = _verdicts(paths)
    assert verdicts.loc[[f"good{seed}" for seed in range(6)], "verdict"].eq("keep").all()
    dropped = verdicts[verdicts["verdict"] == "drop"]
    assert dropped["code"].to_dict() == {
        "bomb": "too_many_pixels", "cut": "truncated", "mirrored": "duplicate", "soft": "blurred", "tiny": "too_small",
    }  # fmt: skip
    assert verdicts["sentence"].ne("").all() and verdicts.loc["tiny", "score"] == 90
    assert "A mirrored copy of 'good2', which is larger" in verdicts.loc["mirrored", "sentence"]
    assert verdicts.loc["mirrored", "group"] == verdicts.loc["good2", "group"] == verdicts.loc["good2", "sha256"][:16]
    assert pd.isna(verdicts.loc["cut", "width_px"]) and verdicts.loc["cut", "phash"] == ""
    assert report.lines[0].startswith("curate dodo: 5 to train on, 1 held out, 5 dropped (1 blurred, 1 duplicate")


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
    decoded = _verdicts(paths).query("pixel_sha256 != ''")
    assert {path.stem for path in paths.curated.glob("thumbs/*.webp")} == set(decoded["sha256"])
    card = outputs.read_card(paths.curated)
    assert (card["n_train"], card["n_holdout"], card["n_dropped"], card["by_code"]["kept"]) == (5, 1, 5, 6)
    page = (paths.curated / "contact_sheet.html").read_text()
    assert "<i>Raphus cucullatus</i>" in page and page.count("<figure>") == 11


def test_the_same_input_gives_the_same_bytes(mixed):
    _, paths = _curate(mixed)
    first = digest_tree(paths.curated)  # over the names and bytes of every file
    shutil.rmtree(paths.curated)
    _curate(mixed)
    assert digest_tree(paths.curated) == first


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


def test_the_digest_follows_what_is_trained_on(project):
    _put(project, a=encoded(scene(1)), b=encoded(scene(2)))

    def digest(**changed) -> str:
        return outputs.read_card(_curate(project, **changed)[1].curated)["digest"]

    first = digest()
    _put(project, c=encoded(scene(3, (20, 20))))
    assert digest() == first
    assert digest(name="Dodo") != first
    assert digest(name="Raphus cucullatus", curate={"image_side_px": 100}) != first


def test_a_trusted_source_needs_no_clip_at_all(project):
    _put(project, a=encoded(scene(1)), b=encoded(scene(2)))
    _, paths = _curate(project, base={"clip": "nowhere"})
    verdicts = _verdicts(paths)
    assert verdicts["sentence"].eq("Chosen by hand, so what it shows was not asked.").all()
    assert verdicts["clip_margin"].isna().all() and verdicts["clip_class"].eq("").all()


def test_others_are_asked_by_clip(project):
    write_clip(project / "clip")
    _put(project, a=encoded(scene(1)), b=encoded(scene(2)))
    _, paths = _curate(project, trusted=False, base={"clip": "clip"}, curate={"min_class_margin": -2.0})
    verdicts = _verdicts(paths)
    assert verdicts["clip_margin"].abs().between(0, 2).all()
    assert verdicts["clip_class"].isin(params_module.load(paths.params).curate.classes).all()
    assert verdicts["score"].equals(verdicts["clip_margin"].rename("score"))


def test_when_nothing_is_left_the_message_says_why_and_the_sheet_can_be_seen(project):
    write_clip(project / "clip")
    _put(project, a=encoded(scene(1)), b=encoded(scene(2).filter(ImageFilter.GaussianBlur(9))))
    with pytest.raises(InputError, match="of 2 it dropped 1 blurred, 1 wrong_class.*`trusted: true`.*_sheet.html"):
        _curate(project, trusted=False, base={"clip": "clip"}, curate={"min_class_margin": 2.0})
    assert "wrong_class" in (project / ".work/curate/dodo/contact_sheet.html").read_text()
    assert not (project / "data/curated/dodo").exists()


def _break_weights(clip: Path) -> None:
    (clip / "model.safetensors").write_bytes(b"broken")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (shutil.rmtree, "'clip' is not there"),
        (lambda clip: (clip / "config.json").unlink(), "'clip' has no config.json"),
        (lambda clip: (clip / "config.json").write_text("{"), "no CLIP that can be loaded"),
        (_break_weights, "no CLIP that can be loaded"),
    ],
)
def test_a_clip_that_is_not_there_is_one_sentence(project, spoil, says):
    spoil(write_clip(project / "clip"))
    _put(project, a=encoded(scene(1)))
    with pytest.raises(InputError, match=says):
        _curate(project, trusted=False, base={"clip": "clip"})


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
