"""The text of a species entry, and where it goes in params.yaml: not one other byte of the file changes."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator

from pipeline.core.errors import ParamsError
from pipeline.taxonomy import gbif, pbdb
from pipeline.taxonomy.resolve import Resolved
from pipeline.taxonomy.suggest import class_noun, sources

WIDTH = 120
NO_BREAK = "\N{NO-BREAK SPACE}"
COLUMN = 32  # where comments begin, as in the rest of the file
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.()-]*(?: [A-Za-z0-9_.()-]+)*")
WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}  # what YAML reads as something else than text


def render(key: str, taxon: Resolved, noun: str = "", indent: str = "  ") -> str:
    """A commented entry, one line each, indented for `species:`; `noun` outranks the guess."""
    return "".join(f"{indent}{line}\n" for line in _lines(key, taxon, noun))


def insert(text: str, entry: str, where: str = "params.yaml") -> str:
    """`text` with `entry` after its last species; whatever follows stays as it is.

    Raises
    ------
    ParamsError
        When `species:` is not written as a block of indented entries.
    """
    lines = text.splitlines(keepends=True)
    end = _end_of_species(lines, where)
    newline = "\r\n" if lines[end - 1].endswith("\r\n") else "\n"
    before = "".join(lines[:end])
    joint = "" if before.endswith("\n") else newline
    return before + joint + entry.replace("\n", newline) + "".join(lines[end:])


def indent_of(text: str, where: str = "params.yaml") -> str:
    """The indentation of the entries of `species:`."""
    return _indent(text.splitlines(keepends=True), where)


def scalar(value: str | int | float) -> str:
    """A value as YAML understands it in every place, quoted where it must be."""
    if not isinstance(value, str):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if PLAIN.fullmatch(value) and value.casefold() not in WORDS:
        return value
    if '"' in value and value.isprintable() and "'" not in value:
        return f"'{value}'"
    return json.dumps(value, ensure_ascii=False)


def _lines(key: str, taxon: Resolved, noun: str) -> Iterator[str]:
    guess, clade = class_noun(taxon)
    origin = "as given" if noun else f"guessed from {clade}" if clade else "no guess"
    yield f"{scalar(key)}:"
    for note in taxon.notes:
        yield from _comment(note)
    yield commented(f"  name: {scalar(taxon.name)}", "{name} in prompts")
    yield commented(f"  class_noun: {scalar(noun or guess)}", f"{{class_noun}} in prompts; {origin}: any word will do")
    yield from _taxon(taxon)
    yield commented("  sources:", "suggested: check them first, drop what shows something else")
    for suggestion in sources(taxon):
        fields = ", ".join(f"{name}: {scalar(value)}" for name, value in suggestion.fields.items())
        yield commented(f"    {'- ' if suggestion.active else '# - '}{{{fields}}}", suggestion.comment, column=64)


def _taxon(taxon: Resolved) -> Iterator[str]:
    authority = pbdb.NAME if taxon.pbdb is not None else gbif.NAME
    yield commented("  taxon:", f"as {authority} has it")
    yield f"    accepted: {scalar(taxon.accepted)}"
    yield f"    rank: {scalar(taxon.rank or 'unranked')}"
    yield from _sequence("clade", taxon.clade)
    if taxon.interval_ma:
        ages = ", ".join(f"{age:g}" for age in taxon.interval_ma)
        yield commented(f"    interval_ma: [{ages}]", "million years ago: first and last known")
    yield from _sequence("synonyms", taxon.synonyms)
    if taxon.pbdb is not None:
        yield commented(f"    pbdb: {taxon.pbdb}", pbdb.PAGE.format(taxon.pbdb))
    if taxon.gbif is not None:
        yield commented(f"    gbif: {taxon.gbif}", gbif.PAGE.format(taxon.gbif))


def _sequence(name: str, values: tuple[str, ...]) -> Iterator[str]:
    """A flow sequence over as many lines as it takes; nothing where it is empty."""
    if not values:
        return
    first = f"    {name}: ["
    # a name is not broken at its spaces
    text = first + ", ".join(scalar(value).replace(" ", NO_BREAK) for value in values) + "]"
    for line in textwrap.wrap(
        text, WIDTH - 4, subsequent_indent=" " * len(first), break_long_words=False, break_on_hyphens=False
    ):
        yield line.replace(NO_BREAK, " ")


def _comment(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, WIDTH - 4, initial_indent="  # ", subsequent_indent="  # ")


def commented(code: str, comment: str, column: int = COLUMN - 2) -> str:
    """A line with its comment in the column of the file's other comments, if its code is not longer."""
    return f"{code.ljust(column - 1)} # {comment}"


def _end_of_species(lines: list[str], where: str) -> int:
    """The number of lines up to the end of the last entry, its own deeper comments among them."""
    indent = _indent(lines, where)
    start = _start(lines, where)
    end = start + 1
    for number, line in enumerate(lines[start + 1 :], start + 2):
        if line.strip() and not line[0].isspace() and not line.startswith("#"):
            break
        if _belongs(line, indent):
            end = number
    return end


def _belongs(line: str, indent: str) -> bool:
    """Whether a line is part of an entry: content, or a comment that is indented deeper than the keys."""
    bare = line.strip()
    depth = len(line) - len(line.lstrip())
    return bool(bare) and (depth > len(indent) if bare.startswith("#") else depth >= len(indent))


def _indent(lines: list[str], where: str) -> str:
    start = _start(lines, where)
    content = (line for line in lines[start + 1 :] if line.strip() and not line.lstrip().startswith("#"))
    first = next(content, "")
    indent = first[: len(first) - len(first.lstrip())]
    if not indent:
        raise ParamsError(f"{where}: `species:` is not a block of indented entries; write it so, then add again")
    return indent


def _start(lines: list[str], where: str) -> int:
    for number, line in enumerate(lines):
        if re.match(r"species:\s*(#.*)?$", line):
            return number
    raise ParamsError(f"{where}: there is no line `species:` with its entries below it; write it so, then add again")
