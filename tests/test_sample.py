"""The stage `sample` on random tiny models: what it writes, that it repeats itself, resumes and refuses."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from pipeline import sample as stage
from pipeline.core.errors import InputError, ParamsError
from pipeline.core.lineage import digest_file, digest_tree
from pipeline.io.files import atomic_write, parquet
from pipeline.sample import sample
from tests.released_project import changed, finish, make

WEIGHTS = "step-000002/unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    params = changed(make(root), **{"sample.prompts": ("{name}", "pencil drawn {name}")})
    finish(params, root)
    return params, root


@pytest.fixture
def project(original, tmp_path):
    """A copy that a test may spoil: params and the paths of the species."""
    params, root = original
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    return params, stage.Paths(tmp_path, "sinomacrops")


@pytest.fixture
def sampled_batches(monkeypatch) -> list:
    """The batches that were really computed, while the test runs."""
    batches, real = [], stage.generate_images

    def counted(components, specs):
        batches.append(specs)
        return real(components, specs)

    monkeypatch.setattr(stage, "generate_images", counted)
    return batches


def _bytes(paths) -> dict[str, bytes]:
    return {p.relative_to(paths.samples).as_posix(): p.read_bytes() for p in sorted(paths.samples.rglob("*.*"))}


def _columns(paths) -> list[np.ndarray]:
    """The same prompt and seed by the base and by both snapshots."""
    labels = ("base", "step-000002", "step-000004")
    return [np.asarray(Image.open(paths.samples / label / "p01-s00002.png")).astype(int) for label in labels]


def test_every_prompt_and_seed_of_every_checkpoint_is_one_file_and_one_row(project):
    params, paths = project
    report = sample(params, paths)
    table = parquet.read(paths.samples / "samples.parquet")
    assert list(table["checkpoint"].unique()) == ["base", "step-000002", "step-000004"]
    assert len(table) == 3 * 2 * 2
    for row in table.itertuples():
        assert digest_file(paths.samples / row.file_name) == row.sha256
    assert table.loc[0, ["file_name", "template", "prompt", "seed"]].tolist() == [
        "base/p00-s00001.png",
        "{name}",
        "Sinomacrops bondei",
        1,
    ]
    card = atomic_write.read_card(paths.samples)
    assert card["n_images"] == 12 and card["lineage_id"] == "a" * 16
    assert "12 pictures" in report.lines[-1]


def test_sampling_twice_writes_the_same_bytes(project):
    params, paths = project
    sample(params, paths)
    first = _bytes(paths)
    shutil.rmtree(paths.work)
    sample(params, paths)
    assert _bytes(paths) == first


def test_batches_finished_before_a_kill_are_not_sampled_again_and_the_bytes_are_the_same(
    project, sampled_batches, monkeypatch
):
    params, paths = project
    sample(params, paths)
    whole = _bytes(paths)
    shutil.rmtree(paths.work)
    shutil.rmtree(paths.samples)
    sampled_batches.clear()
    counted = stage.generate_images

    def killed(components, specs):
        if len(sampled_batches) == 2:
            raise KeyboardInterrupt
        return counted(components, specs)

    monkeypatch.setattr(stage, "generate_images", killed)
    with pytest.raises(KeyboardInterrupt):
        sample(params, paths)
    assert not paths.samples.exists()

    sampled_batches.clear()
    monkeypatch.setattr(stage, "generate_images", counted)
    sample(params, paths)
    assert len(sampled_batches) == 1  # one batch for each of three checkpoints, two of which were there
    assert _bytes(paths) == whole


def test_the_base_model_is_not_sampled_again_for_a_new_training(project, sampled_batches):
    params, paths = project
    sample(params, paths)
    before = _bytes(paths)
    sampled_batches.clear()
    atomic_write.write_card(paths.model, **{**atomic_write.read_card(paths.model), "lineage_id": "b" * 16})
    sample(params, paths)
    after = _bytes(paths)
    assert len(sampled_batches) == 2
    assert all(after[name] == content for name, content in before.items() if name.startswith("base/"))
    assert after["step-000002/p00-s00001.png"] != before["step-000002/p00-s00001.png"]  # its lineage is in it


def test_batches_of_former_trainings_are_removed(project):
    params, paths = project
    sample(params, paths)
    (paths.work / "sample/sinomacrops-0000000000000000").mkdir()
    (paths.work / "sample/sinomacrops-big-0000000000000000").mkdir()  # another species
    sample(params, paths)
    left = {folder.name for folder in (paths.work / "sample").iterdir()}
    assert "sinomacrops-0000000000000000" not in left
    assert "sinomacrops-big-0000000000000000" in left
    assert len(left) == 4


def test_a_snapshot_with_the_weights_of_the_base_gives_its_pictures(project):
    """The same noise and the same scheduler in every column: only weights can make a difference."""
    params, paths = project
    shutil.copytree(paths.root / "base", paths.model / "step-000002", dirs_exist_ok=True)
    sample(params, paths)
    base, same, other = _columns(paths)
    assert (base == same).all()
    assert (base != other).any()


@pytest.mark.parametrize("kind", ["lora", "lokr", "loha", "textual_inversion", "pivotal"])
def test_snapshots_that_are_laid_over_the_base_change_its_pictures(tmp_path, kind):
    params = make(tmp_path, kind)
    paths = finish(params, tmp_path)
    sample(params, paths)
    base, second, fourth = _columns(paths)
    assert (base != second).any() and (second != fourth).any()


def test_the_parameters_are_in_every_picture(project):
    params, paths = project
    sample(params, paths)
    texts = Image.open(paths.samples / "step-000002/p01-s00002.png").text
    assert texts["parameters"].startswith("pencil drawn Sinomacrops bondei\nSteps: 2, Sampler: DDIM, CFG scale: 3,")
    record = json.loads(texts["paleoforge"])
    assert record["checkpoint"] == "step-000002" and record["lineage_id"] == "a" * 16
    assert record["scheduler"]["class"] == "DDIMScheduler"
    assert json.loads(Image.open(paths.samples / "base/p01-s00002.png").text["paleoforge"])["lineage_id"] == ""


def test_zero_terminal_snr_snapshots_are_sampled_from_pure_noise_and_the_base_as_before(project):
    params, paths = project
    sample(params, paths)
    before = _columns(paths)
    card = atomic_write.read_card(paths.model)
    card["params"] = {"loss": {"zero_terminal_snr": True}}
    (paths.model / "card.json").write_text(json.dumps(card))
    sample(params, paths)
    after = _columns(paths)
    assert np.array_equal(before[0], after[0])
    assert not np.array_equal(before[1], after[1]) and not np.array_equal(before[2], after[2])
    for label, zero in (("base", False), ("step-000004", True)):
        picture = Image.open(paths.samples / label / "p00-s00001.png")
        assert json.loads(picture.text["paleoforge"])["scheduler"]["config"]["rescale_betas_zero_snr"] is zero


def test_a_prompt_beyond_the_window_is_sampled_with_a_warning(project):
    params, paths = project
    params = changed(params, **{"sample.prompts": ("{name} flying in the forest",), "sample.seeds": (1,)})
    line = sample(params, paths).lines[0]
    assert line.startswith("warning: the last ") and "'Sinomacrops bondei flying in the forest'" in line


def test_finished_pictures_are_read_back_without_loading_a_model(project, monkeypatch):
    params, paths = project
    sample(params, paths)
    before = digest_tree(paths.samples)
    monkeypatch.setattr("pipeline.sample.load", lambda *_: pytest.fail("loaded"))
    sample(params, paths)
    assert digest_tree(paths.samples) == before


def test_placeholder_tokens_count_in_the_window_and_not_the_letters_of_the_name(tmp_path):
    """A name of 17 letters, each of them a token of the tiny base, is four words."""
    params = changed(make(tmp_path, "textual_inversion"), **{"sample.seeds": (1,)})
    paths = finish(params, tmp_path)
    lines = sample(changed(params, **{"sample.prompts": ("{name} at sea",)}), paths).lines
    assert len(lines) == 1
    lines = sample(changed(params, **{"sample.prompts": ("{name} at the sea",)}), paths).lines
    assert lines[0].startswith("warning: the last 2 tokens of 'Sinomacrops bondei at the sea' are beyond")


def test_a_picture_that_is_not_a_number_is_named_and_leaves_earlier_samples_alone(project):
    params, paths = project
    sample(params, paths)
    before = digest_tree(paths.samples)
    weights = load_file(paths.model / WEIGHTS)
    save_file({name: tensor * float("nan") for name, tensor in weights.items()}, paths.model / WEIGHTS)
    with pytest.raises(
        InputError, match="step-000002: the picture for 'Sinomacrops bondei' with seed 1 is not a number"
    ):
        sample(params, paths)
    assert digest_tree(paths.samples) == before


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"sample.sampler": "DPM++ SDE"}, "the sampler 'DPM[+][+] SDE' is refused"),
        ({"sample.sampler": "Eular"}, "did you mean 'Euler'"),
        ({"sample.width_px": 20}, "sample.width_px is 20, which is no multiple of 8; use 16"),
    ],
)
def test_params_that_cannot_be_sampled_with_are_refused_at_once(project, sampled_batches, change, sentence):
    params, paths = project
    with pytest.raises(ParamsError, match=sentence):
        sample(changed(params, **change), paths)
    assert not sampled_batches


def test_without_a_trained_model_the_sentence_says_what_to_run(project):
    params, paths = project
    shutil.rmtree(paths.model)
    with pytest.raises(InputError, match="card.json is missing; run the stage that writes it"):
        sample(params, paths)


def test_a_snapshot_that_its_card_names_must_be_there(project):
    params, paths = project
    shutil.rmtree(paths.model / "step-000004")
    with pytest.raises(InputError, match="step-000004 is missing, though its card names it"):
        sample(params, paths)


def test_another_base_model_than_the_trained_one_is_refused(project):
    params, paths = project
    (paths.root / "base/unet/config.json").write_text("{}")
    with pytest.raises(InputError, match="was trained from another base model than 'base'; run its training again"):
        sample(params, paths)
