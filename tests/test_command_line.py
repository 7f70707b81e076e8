"""The command line: what every command has in common, help, exit codes, shell completion."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import click
import pytest

import pipeline.__main__ as command_line
from pipeline.commands.parsers import stages
from pipeline.core.errors import Interrupted
from pipeline.core.stages import STAGES
from tests.released_project import ROOT


def _commands(group: click.Group, *path: str):
    """All commands and groups with the words that call them."""
    for name in group.list_commands(click.Context(group)):
        command = group.commands[name]
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from _commands(command, *path, name)


COMMANDS = [*_commands(command_line.program())]
IN_FLOWS = ("run", "plan", "up")


@pytest.fixture
def here(monkeypatch):
    monkeypatch.chdir(ROOT)


def run(*words: str, module: str = "pipeline", **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **environment}
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    "words",
    [
        ("collect", "sinomacrops"),
        ("train", "sinomacrops"),
        ("gallery",),
        ("generate", "sinomacrops", "a bird", "--steps", "7"),
        ("review", "sinomacrops"),
        ("pretrain", "--out", "somewhere"),
    ],
    ids=lambda words: words[0],
)
def test_a_dry_run_prints_the_resolved_params_as_json_and_does_nothing(here, capsys, words):
    assert command_line.main([*words, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    params, last = printed.rsplit("dry run: ", 1)
    assert json.loads(params)
    assert last == f"{words[0]} did nothing\n"


def test_a_dry_run_of_generate_shows_what_the_options_change(here, capsys):
    options = ("--steps", "7", "--guidance", "5.5", "--sampler", "Euler", "--negative-prompt", "text")
    command_line.main(["generate", "sinomacrops", "a bird", *options, "--width", "96", "--height", "48", "--dry-run"])
    sample = json.loads(capsys.readouterr().out.rsplit("dry run: ", 1)[0])["sample"]
    changed = {key: sample[key] for key in ("steps", "guidance_scale", "sampler", "negative_prompt")}
    assert changed == {"steps": 7, "guidance_scale": 5.5, "sampler": "Euler", "negative_prompt": "text"}
    assert (sample["width_px"], sample["height_px"]) == (96, 48)


def test_generate_is_called_with_the_version_and_step_of_the_options(here, monkeypatch):
    from pipeline.commands import generate

    seen = {}
    monkeypatch.setattr(generate, "generate", lambda *_, **options: seen.update(options))
    words = ["generate", "sinomacrops", "a bird", "--version", "3", "--step", "250", "--seed", "7", "-n", "4"]
    assert command_line.main([*words, "--out", "drawn"]) == 0
    assert {key: seen[key] for key in ("version", "step", "seed", "number")} == {
        "version": 3,
        "step": 250,
        "seed": 7,
        "number": 4,
    }
    assert str(seen["out"]) == "drawn" and seen["sample"].steps == 20


def test_a_full_disk_is_one_sentence(here, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "data/raw/x.png")

    monkeypatch.setattr(stages, "import_module", lambda _: SimpleNamespace(collect=full))
    assert command_line.main(["collect", "sinomacrops"]) == 1
    assert capsys.readouterr().err == (
        "paleo collect: No space left on device (data/raw/x.png); earlier results are as they were, "
        "mend it and run this again\n"
    )
    with pytest.raises(OSError):
        command_line.main(["collect", "sinomacrops", "--debug"])


@pytest.mark.parametrize(
    ("raised", "code", "sentence"),
    [(Interrupted("the work is saved"), 75, "the work is saved"), (KeyboardInterrupt(), 130, "stopped")],
)
def test_an_interruption_has_an_exit_code_of_its_own(here, capsys, monkeypatch, raised, code, sentence):
    def interrupted(*_):
        raise raised

    monkeypatch.setattr(stages, "import_module", lambda _: SimpleNamespace(collect=interrupted))
    assert command_line.main(["collect", "sinomacrops"]) == code
    assert capsys.readouterr().err == f"paleo collect: {sentence}\n"


def test_an_interruption_leaves_the_process_of_a_caller_alive(here, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "import_module", lambda _: SimpleNamespace(collect=interrupted))
    ended = threading.Event()
    download = threading.Thread(target=ended.wait)
    download.start()
    try:
        assert command_line.main(["collect", "sinomacrops"]) == 130
    finally:
        ended.set()
        download.join()


def test_an_interrupted_process_does_not_wait_for_its_threads(tmp_path):
    code = (
        "import threading, time, pipeline.__main__ as line\n"
        "threading.Thread(target=time.sleep, args=(100,)).start()\n"
        "line.main = lambda: line.EXIT_STOPPED\n"
        "line.console_script()"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=60).returncode == 130


def test_an_unknown_species_is_a_mistake_that_names_the_nearest(here, capsys):
    assert command_line.main(["collect", "sinomacrop"]) == 1
    assert capsys.readouterr().err == (
        "paleo collect: no species 'sinomacrop' in params.yaml; did you mean 'sinomacrops'?\n"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("colect", "sinomacrops"), "No such command 'colect'. (Did you mean one of: 'collect', 'completion'?)"),
        (("species", "ad"), "No such command 'ad'. Did you mean 'add'?"),
        (("generate", "sinomacrops", "x", "--sede", "1"), "No such option '--sede'. (Did you mean"),
        (("collect",), "Missing argument 'SPECIES'."),
        (("promote", "sinomacrops", "--version", "two"), "'two' is not a valid integer."),
        (("completion", "tcsh"), "'tcsh' is not one of 'bash', 'zsh', 'fish'."),
    ],
)
def test_arguments_that_cannot_be_parsed_are_exit_code_2(here, capsys, words, sentence):
    assert command_line.main(list(words)) == 2
    assert sentence in capsys.readouterr().err


def test_flows_report_wrong_arguments_like_all_others():
    done = run("run", "--refesh")
    assert done.returncode == 2 and "No such option '--refesh'. Did you mean '--refresh'?" in done.stderr


def test_the_help_lists_every_command_within_a_third_of_a_second():
    run("--help")  # compiled
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = run("--help")
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.3
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ") and line[2:3] != " "]
    assert {*IN_FLOWS, *STAGES, "species", "params", "completion"} <= set(listed)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_help_of_every_command_has_examples_and_fits_a_terminal(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    if words[0] in IN_FLOWS:
        text = run(*words, "--help").stdout
    else:
        assert command_line.main([*words, "--help"]) == 0
        text = capsys.readouterr().out
    assert text.startswith(f"Usage: paleo {' '.join(words)} ")
    examples = text.split("\nExamples:\n")[1]
    assert f"  paleo {words[0]}" in examples or f"(paleo {words[0]}" in examples
    assert max(map(len, text.splitlines())) <= 80
    assert "..." not in text.replace("]...", "")


def _completed(*words: str) -> list[str]:
    """What the shell offers after `paleo WORDS`, of which the last one is incomplete."""
    environment = {"_PALEO_COMPLETE": "bash_complete", "COMP_CWORD": str(len(words))}
    done = run(COMP_WORDS=" ".join(["paleo", *words]), **environment)
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("col",), ["collect"]),
        (("species", "sh"), ["show"]),
        (("collect", "s"), ["sinomacrops"]),
        (("species", "show", "dim"), ["dimorphodontidae"]),
        (("register", "sinomacrops", "o"), ["ornithocheiromorpha"]),
        (("generate", "sinomacrops", "x", "--ne"), ["--negative-prompt"]),
        (("profile", "sd1"), ["sd15"]),
        (("params", "train.lr"), ["train.lr_schedule"]),
        (("plan", "sin"), ["sinomacrops"]),
        (("run", "--re"), ["--refresh"]),
        (("run", "--q"), ["--quiet"]),
        (("--v",), ["--version"]),
        (("species", "re"), ["remove", "rename"]),
        (("species", "remove", "sin"), ["sinomacrops"]),
        (("species", "rename", "dim"), ["dimorphodontidae"]),
        (("species", "add", "--folder", "x", "--licence", "CC-BY-SA-4"), ["CC-BY-SA-4.0"]),
        (("species", "add", "--tr"), ["--trusted"]),
        (("versions", "orn"), ["ornithocheiromorpha"]),
        (("versions", "--js"), ["--json"]),
        (("plan", "--js"), ["--json"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_the_shell_completes_commands_species_keys_and_options(words, offered):
    assert _completed(*words) == offered


@pytest.mark.parametrize(("shell", "line"), [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete --")])
def test_the_script_of_a_shell_is_printed(capsys, shell, line):
    assert command_line.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert line in script and "_PALEO_COMPLETE" in script
