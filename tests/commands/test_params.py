"""`paleo params`: all params printed with documentation, one explained, old keys renamed in place."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.__main__ import main
from pipeline.commands import params as command
from pipeline.core import params as params_module
from pipeline.core import registry, renamed_params
from pipeline.core.errors import InputError, ParamsError
from pipeline.core.param_types import Section
from tests.released_project import ROOT

RELEASED = Path(__file__).with_name("params-0.1.0.yaml")  # as version 0.1.0 had it
RENAMED = {
    "curate.min_side_px": "curate.size.min_side_px",
    "curate.max_aspect": "curate.size.max_aspect",
    "curate.min_sharpness": "curate.detail.min_sharpness",
    "train.look": "train.monitor",
    "train.schedule": "train.lr_schedule",
    "train.masks.outside": "train.masks.background_weight",
    "sample.negative": "sample.negative_prompt",
}
REMOVED = {"collect.replay": "tests set an environment variable"}


class Wide:
    sections = ("lora",)

    class Params(Section):
        """A method with two params."""

        rank: int = 16
        """Rank of the update."""
        targets: tuple[str, ...] = ("to_q", "to_k")


class Narrow:
    sections = ("dreambooth",)

    class Params(Section):
        """A method with one."""

        train_text_encoder: bool = True


class Bare:
    class Params(Section):
        """A method without params."""


@pytest.fixture
def methods(monkeypatch):
    """Two methods in place of all; dreambooth is the one that params.yaml chooses."""
    known = {"dreambooth": Narrow, "lora": Wide, "bare": Bare}
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda entry: known if entry == "pipeline.methods:METHODS" else load(entry))


@pytest.fixture
def file(tmp_path, methods):
    raw = YAML(typ="safe").load(ROOT / "params.yaml")
    raw["train"] = {
        "steps": 600,
        "snapshots": [50, 250, 500],
        "loss": {"timesteps": "uniform"},
        "monitor": {"steps": 5},
    }
    path = tmp_path / "params.yaml"
    YAML(typ="safe").dump(raw, path)
    return path


def _line(report, start: str) -> str:
    return next(line for line in report.lines if line.strip().startswith(start))


def test_what_is_printed_is_the_same_params_as_yaml(file):
    text = "\n".join(command.show(file).lines)
    parsed = params_module.parse(text, "printed")
    assert _holds(parsed.model_dump(), params_module.load(file).model_dump())
    assert parsed.train.dreambooth.train_text_encoder is True


def _holds(printed, loaded) -> bool:
    """Are all loaded values printed? (The sections of plugins that are not written are printed as well.)"""
    if isinstance(loaded, dict):
        return all(key in printed and _holds(printed[key], value) for key, value in loaded.items())
    return printed == loaded


def test_every_value_says_whether_it_is_written_or_a_default(file):
    report = command.show(file)
    assert _line(report, "seed:").endswith("# written")
    assert _line(report, "steps: 600").endswith("# written (default: 500)")
    assert _line(report, "batch_size: 8").endswith("# default")
    assert _line(report, "snapshots:").endswith("# written (the default)")
    assert _line(report, "background_weight:").endswith("# default")


def test_documentation_of_fields_and_sections_stands_above_them_once(file):
    lines = list(command.show(file).lines)
    at = lines.index("  # Global, whatever the number of processes.")
    assert lines[at + 1].startswith("  batch_size: 8 ")
    at = lines.index("# The base model, and the CLIP that curates and measures.")
    assert lines[at + 1] == "base:"
    assert lines.count("    # {name} in prompts.") == 1
    assert any("One of: mse, huber." in line for line in lines)


def test_sections_of_the_chosen_method_are_shown_and_of_others_with_all(file):
    assert "  dreambooth:" in command.show(file).lines and "  lora:" not in command.show(file).lines
    everything = command.show(file, all_plugins=True).lines
    assert not [line for line in everything if "bare" in line]
    assert "  lora:" in everything and "    # Rank of the update." in everything
    file.write_text(file.read_text().replace("\ntrain:\n", "\ntrain:\n  lora: {rank: 4}\n"))
    assert "rank: 4" in file.read_text()
    assert _line(command.show(file), "rank: 4").endswith("# written (default: 16)")
    assert _line(command.show(file), "targets: [to_q, to_k]").endswith("# default")


def test_one_key_is_explained(file):
    assert command.show_key(file, "train.loss.timesteps").lines == (
        "train.loss.timesteps",
        "  logit_normal: more of the middle (Esser et al. 2024). One of: uniform, logit_normal.",
        "  Default: uniform",
        "  Present value: uniform (written in params.yaml)",
    )
    assert command.show_key(file, "seed").lines[2] == "  Default: none, it must be written"
    assert command.show_key(file, "train.lora.rank").lines[-1] == "  Present value: 16 (not written in params.yaml)"
    assert command.show_key(file, "species.sinomacrops.sources.0.good").lines[-1].startswith("  Present value: 48")
    section = command.show_key(file, "train.monitor").lines
    assert "train.monitor:" in section and _line(command.show_key(file, "train.monitor"), "steps: 5")


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("train.lr_shedule", "no param 'train.lr_shedule'; did you mean 'train.lr_schedule'?"),
        ("lr_schedule", "no param 'lr_schedule'; did you mean 'train.lr_schedule'?"),
        ("train.lroa", "no param 'train.lroa'; did you mean 'train.lora'?"),
        ("train.look", "'train.look' is called 'train.monitor' now"),
    ],
)
def test_an_unknown_key_names_the_nearest(file, key, sentence):
    with pytest.raises(InputError) as caught:
        command.show_key(file, key)
    assert str(caught.value) == sentence


# ---- old keys


@pytest.fixture
def old_keys(monkeypatch):
    for table, entries in ((renamed_params.RENAMED, RENAMED), (renamed_params.REMOVED, REMOVED)):
        for key in list(table):
            monkeypatch.delitem(table, key)
        for key, value in entries.items():
            monkeypatch.setitem(table, key, value)


@pytest.fixture
def released(tmp_path, monkeypatch):
    path = tmp_path / "params.yaml"
    path.write_bytes(RELEASED.read_bytes())
    monkeypatch.chdir(tmp_path)
    return path


def test_a_rewrite_changes_the_lines_of_old_keys_and_nothing_else(released, old_keys):
    report = command.rewrite(released)
    before, after = RELEASED.read_text(), released.read_text()
    changes = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    assert "\n".join(changes) + "\n" == RELEASED.with_suffix(".diff").read_text()
    assert report.lines == (
        *(f"{old} -> {new}" for old, new in RENAMED.items()),
        "collect.replay removed: tests set an environment variable",
        "8 old keys changed in params.yaml",
    )


def test_a_second_rewrite_finds_nothing(released):
    command.rewrite(released)
    once = released.read_bytes()
    assert command.rewrite(released).lines == ("params.yaml has no old keys; nothing to rename",)
    assert released.read_bytes() == once


def test_params_of_the_first_version_load_after_a_rewrite_and_hold_the_same_values(released):
    with pytest.raises(ParamsError, match="'train.look' is called 'train.monitor' now.*`paleo params --rewrite`"):
        params_module.load(released)
    old = YAML(typ="safe").load(RELEASED)
    command.rewrite(released)
    new = YAML(typ="safe").load(released)
    assert not renamed_params.renamed(new)
    for before, after in renamed_params.RENAMED.items():
        assert _at(new, after) == _renamed_within(_at(old, before), before), before
    params_module.load(released)


def _at(raw, key: str):
    for part in key.split("."):
        raw = raw[part]
    return raw


def _renamed_within(value, key: str):
    """A section's value with those of its own keys renamed that are called otherwise now."""
    if not isinstance(value, dict):
        return value
    names = {old.removeprefix(f"{key}."): new.rpartition(".")[2] for old, new in renamed_params.RENAMED.items()}
    return {names.get(name, name): item for name, item in value.items()}


def test_comments_of_the_first_version_are_all_kept_but_those_of_removed_keys(released):
    def comments(text: str) -> list[str]:
        return sorted(line.partition("#")[2].strip() for line in text.splitlines() if "#" in line)

    command.rewrite(released)
    lost = difflib.ndiff(comments(RELEASED.read_text()), comments(released.read_text()))
    removed = {old.rpartition(".")[2] for old in renamed_params.REMOVED}
    lines = [line for line in RELEASED.read_text().splitlines() if line.split(":")[0].strip() in removed]
    assert all(any(part[2:] in line for line in lines) for part in lost if part[0] == "-")
    assert not [part for part in lost if part[0] == "+"]


def test_a_dry_run_writes_nothing(released, old_keys):
    assert command.rewrite(released, dry_run=True).lines[-1] == "dry run: nothing was written"
    assert released.read_bytes() == RELEASED.read_bytes()


def test_a_profile_is_rewritten_by_its_file_name_and_keeps_its_line_ends(tmp_path, monkeypatch, old_keys, capsys):
    monkeypatch.chdir(tmp_path)
    profile = tmp_path / "mine.yaml"
    profile.write_bytes(b"train:\r\n  look: {steps: 3}  # fewer\r\n")
    assert main(["params", "--rewrite", "--file", "mine.yaml"]) == 0
    assert profile.read_bytes() == b"train:\r\n  monitor: {steps: 3} # fewer\r\n"
    assert capsys.readouterr().out == "train.look -> train.monitor\n1 old keys changed in mine.yaml\n"


def test_what_cannot_be_renamed_is_one_sentence_and_nothing_is_written(tmp_path, monkeypatch, old_keys, capsys):
    monkeypatch.chdir(tmp_path)
    both = "train: {look: {}, monitor: {}}\ncurate: {min_side_px: 3}\n"
    (tmp_path / "params.yaml").write_text(both)
    assert main(["params", "--rewrite"]) == 1
    sentence = "both 'train.look' and its new name 'train.monitor' are written; remove one of them; nothing was written"
    assert capsys.readouterr().err == f"paleo params: params.yaml: {sentence}\n"
    assert (tmp_path / "params.yaml").read_text() == both
    assert main(["params", "--rewrite", "--file", "none.yaml"]) == 1
    assert capsys.readouterr().err == "paleo params: there is no file none.yaml\n"


def test_a_key_that_became_a_section_of_its_name_is_renamed_once(monkeypatch):
    monkeypatch.setitem(renamed_params.RENAMED, "curate.caption", "curate.caption.template")
    text, lines = command.rewritten("curate:\n  caption: x\n", "params.yaml")
    assert text == "curate:\n  caption:\n    template: x\n" and lines == ["curate.caption -> curate.caption.template"]
    assert command.rewritten(text, "params.yaml") == (text, [])
