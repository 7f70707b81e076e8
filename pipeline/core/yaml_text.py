"""YAML that people write: read within bounds, and mistakes in plain words with the line on which they are.

A few aliases of aliases stand for more than fits into memory ("billion laughs"), so what they stand for is counted
before anything is built of it; whatever parses a project's YAML parses it here first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipeline.core.errors import ParamsError

MAX_CHARACTERS = 2**20  # of scalars, and of nodes, with every alias written out
MAX_DEPTH = 50
SHOWN_CHARACTERS = 60  # of a line, in a message
_END_OF_KEY = re.compile(r":(\s|$)")


def load(text: str, where: str) -> Any:
    """The value of the only document in `text`; `where` names the file in messages.

    Raises
    ------
    ParamsError
        Where it is no YAML, with the line and what to do there; where it is nested deeper than `MAX_DEPTH` or has more
        than `MAX_CHARACTERS` once its aliases are written out.
    """
    try:
        _check_size(text, where)
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise ParamsError(f"{where} is not valid YAML: {problem(error, text)}") from None
    except ValueError as error:  # a date or a number that Python cannot hold
        raise ParamsError(f"{where} is not valid YAML: a value cannot be read ({error}); correct it") from None


def problem(error: YAMLError, text: str) -> str:
    """Why a text is no YAML, with the line that is wrong and what to do, on one line."""
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        words = " ".join(str(error).split())
        control = re.search(r"unacceptable character (#x[0-9a-f]+)", words)
        return f"it holds the control character {control[1]}; remove it" if control else words
    found = next(_explanations(error, text.splitlines()), None)
    if found is None:
        found = int(error.problem_mark.line), " ".join(str(error.problem).split())
    number, words = found
    return f"line {number + 1}, {_shown(text.splitlines(), number)}, {words}"


def _check_size(text: str, where: str) -> None:
    """ParamsError for a text that stands for more than its length lets one expect; only its events are read."""
    sizes: dict[str, int] = {}  # by anchor: characters, with aliases written out
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]
    for event in YAML(typ="safe").parse(text):
        kind, anchor = type(event).__name__, getattr(event, "anchor", None)
        if kind in ("MappingStartEvent", "SequenceStartEvent"):
            open_nodes.append((anchor, 1))
            size = 0
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            anchor, size = open_nodes.pop()
        elif kind == "AliasEvent":
            if any(anchor == other for other, _ in open_nodes):
                raise ParamsError(f"{where} has an alias *{anchor} within what it stands for; write out what is meant")
            anchor, size = None, sizes.get(str(anchor), 0)
        else:
            size = 1 + len(getattr(event, "value", "") or "")
        if anchor and size:
            sizes[anchor] = size
        outer, before = open_nodes[-1]
        open_nodes[-1] = outer, before + size
        if before + size > MAX_CHARACTERS:
            raise ParamsError(
                f"{where} stands for more than {MAX_CHARACTERS // 2**20} MiB with its aliases (*name) written out; "
                "write out what is meant, or shorten it"
            )
        if len(open_nodes) > MAX_DEPTH:
            raise ParamsError(f"{where} is nested deeper than {MAX_DEPTH} levels; remove the brackets too many")


def _explanations(error: MarkedYAMLError, lines: list[str]) -> Iterator[tuple[int, str]]:
    """The number of the wrong line, from 0, and what is wrong there; the first one holds."""
    words, mark = " ".join(str(error.problem).split()), error.problem_mark
    number, column = int(mark.line), int(mark.column)
    opened = int(error.context_mark.line) if error.context_mark else number
    line = lines[number] if number < len(lines) else ""
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent and ("token" in words or "tab" in words):
        yield number, "is indented with a tab; indent it with spaces"
    if words.startswith("mapping values are not allowed"):
        yield from _unexpected_colon(lines, number, column)
    if words.startswith("could not find expected ':'"):
        yield opened, "has no colon after its key; write `key: value`"
    if "found unexpected end of stream" in words:
        yield opened, "opens a quote that is never closed; close it"
    if words.startswith(("did not find expected ','", "expected ','")):
        yield opened, "opens a bracket that is not closed, or lacks a comma between two values; add it"
    if words.startswith("did not find expected") and column > len(indent):
        yield number, "goes on after its value has ended; put the whole value into quotes"
    if words.startswith("did not find expected"):
        yield number, "is indented unlike the lines of its section; align it with them"
    if key := re.match(r"found duplicate key \"(.*?)\"", words):
        yield number, f"has the key {key[1]!r} a second time in its section; remove one of the two"
    if "cannot start any token" in words:
        yield number, f"has a value that begins with {line[column : column + 1]!r}; put it into quotes"
    if words.startswith("found undefined alias"):
        yield number, "has a `*` that refers to nothing; put the text into quotes"
    if words == "found unhashable key":
        yield number, "has a bracket where a key should be; put the text into quotes, or remove the bracket"
    if words == "but found another document":
        yield number, "begins a second document; remove it"
    if words.startswith("could not determine a constructor for the tag"):
        yield number, "has a tag (`!…`) that means nothing here; remove it"


def _unexpected_colon(lines: list[str], number: int, column: int) -> Iterator[tuple[int, str]]:
    """A colon where no key can be: mostly it is the line before that is wrong."""
    if _END_OF_KEY.search(lines[number][:column]):
        yield number, "has a second colon; put the value into quotes"
    before = next((n for n in range(number - 1, -1, -1) if lines[n].split("#")[0].strip()), None)
    if before is None:
        return
    code = lines[before].split("#")[0].strip()
    if re.match(r"-\S", code):
        yield before, "needs a space after its dash"
    if re.match(r"[\w-]+:\S", code):
        yield before, "needs a space after its colon"
    if not _END_OF_KEY.search(code):
        yield before, "has no colon after its key; write `key: value`"
    yield number, f"is indented deeper than line {before + 1}, which has a value already; align the two"


def _shown(lines: list[str], number: int) -> str:
    line = lines[number].strip() if number < len(lines) else ""
    return repr(line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}…") if line else "the end"
