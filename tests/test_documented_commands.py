"""README.md and docs/*.md: every `paleo` line is one that the command line accepts, and every link leads somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

import flows.__main__ as flows_command_line
import pipeline.__main__ as command_line
from tests.project import ROOT, tracked_files

PAGES = [name for name in tracked_files() if re.fullmatch(r"(README|CONTRIBUTING|SECURITY)\.md|docs/[^/]+\.md", name)]
FENCED = re.compile(r"^```[a-z]*\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
IN_FLOWS = ("run", "plan", "up")


def _lines(page: str) -> list[str]:
    """The `paleo` lines of a page's code blocks, without what explains them after two spaces or more."""
    blocks = FENCED.findall((ROOT / page).read_text(encoding="utf-8"))
    joined = [re.sub(r"\\\n\s*", "", block) for block in blocks]
    lines = [line.removeprefix(".venv/bin/") for block in joined for line in block.splitlines()]
    return [re.split(r"\s{2,}", line)[0] for line in lines if line.startswith("paleo ")]


COMMANDS = sorted({(page, line) for page in PAGES for line in _lines(page)})


def _accept(words: list[str]) -> None:
    """Parse a command line as `paleo` would; click.UsageError where it would refuse."""
    group: click.Command = flows_command_line.flows if words[0] in IN_FLOWS else command_line.program()
    while isinstance(group, click.Group):
        name, *words = words
        found = group.get_command(click.Context(group), name)
        assert found is not None, f"there is no command {name!r}"
        group = found
    group.make_context(group.name, words)


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page}: {line}" for page, line in COMMANDS])
def test_a_documented_command_is_accepted(page, line, monkeypatch):
    monkeypatch.chdir(ROOT)
    _accept(shlex.split(line, comments=True)[1:])


@pytest.mark.parametrize("line", ["paleo generate cats", "paleo species add --floder x", "paleo rnu"])
def test_a_line_that_the_command_line_refuses_fails(line):
    with pytest.raises((click.UsageError, AssertionError)):
        _accept(shlex.split(line)[1:])


@pytest.mark.parametrize("page", PAGES)
def test_a_link_leads_to_a_file_and_a_heading_that_are_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://|mailto:)([^)\s]+)\)", FENCED.sub("", text)):
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), f"{page} links to {target}"
        assert not anchor or anchor in _anchors(path), f"{page} links to {target}"


def _anchors(path: Path) -> set[str]:
    """Headings as hosting pages name them: lower case, words joined by hyphens, punctuation dropped."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", path.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
