"""A new command is one new file and one line: it shows in the help, completes, has examples and reports mistakes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.released_project import ROOT

PARSER = '''\
"""`paleo hello NAME`."""

import click

from pipeline.core.command_line import Command, debug_option
from pipeline.core.errors import InputError
from pipeline.core.records import Report


@click.command(cls=Command, examples="paleo hello Sinomacrops --loud")
@click.argument("name", help="Who is greeted.")
@click.option("--loud", is_flag=True, help="In capitals.")
@debug_option
def hello(name: str, loud: bool) -> Report:
    """Greet somebody."""
    if name == "Nobody":
        raise InputError("nobody is there; name somebody")
    text = f"hello {name}"
    return Report("hello", (text.upper() if loud else text,))
'''
LINE = '    "hello": "pipeline.commands.parsers.hello:hello",\n'


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The code with one new file and one new line."""
    folder = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__", "assets")
    shutil.copytree(ROOT / "pipeline", folder / "pipeline", ignore=ignored)
    (folder / "pipeline/commands/parsers/hello.py").write_text(PARSER)
    table = folder / "pipeline/commands/__init__.py"
    table.write_text(table.read_text().replace("COMMANDS = {\n", f"COMMANDS = {{\n{LINE}"))
    return folder


@pytest.fixture
def paleo(tree):
    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "80", **more}
        command = [sys.executable, "-m", "pipeline", *words]
        return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)

    return run


def test_it_runs(paleo):
    assert paleo("hello", "Sinomacrops").stdout == "hello Sinomacrops\n"
    assert paleo("hello", "Sinomacrops", "--loud").stdout == "HELLO SINOMACROPS\n"


def test_it_is_in_the_help_and_has_its_own(paleo):
    assert "  hello       Greet somebody.\n" in paleo("--help").stdout
    assert paleo("hello", "--help").stdout.endswith("Examples:\n  paleo hello Sinomacrops --loud\n")


def test_it_completes(paleo):
    offered = paleo(_PALEO_COMPLETE="bash_complete", COMP_WORDS="paleo hello --lo", COMP_CWORD="2").stdout
    assert offered == "plain,--loud\n"


def test_its_mistakes_are_sentences_with_exit_codes(paleo):
    done = paleo("hello", "Nobody")
    assert (done.returncode, done.stderr) == (1, "paleo hello: nobody is there; name somebody\n")
    assert "Traceback" in paleo("hello", "Nobody", "--debug").stderr
    done = paleo("hello", "x", "--luod")
    assert done.returncode == 2 and "Did you mean '--loud'?" in done.stderr
    assert "Did you mean 'hello'?" in paleo("helo").stderr
