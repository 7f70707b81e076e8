"""YAML text edited in place: a key renamed, moved to another section or removed, every other byte as it was.

ruamel's node tree gives the place of each key and value in the text. A comment belongs to the key on its line or, at
the same indentation and without a blank line between, to the key under it; on a line it stays in its column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from pipeline.core.errors import ParamsError

INDENT = 2
Node: TypeAlias = ScalarNode | MappingNode | SequenceNode


def rename_key(text: str, old: str, new: str) -> str:
    """Rename or move the key with the dotted path `old`; a section that is missing on the way to `new` is written.

    Raises
    ------
    ParamsError
        When `new` is there as well, or would be in something that is no section, or the text cannot be edited safely.
    """
    before, after = old.split("."), new.split(".")
    expected = _load(text)
    entry = _present(text, old)
    try:
        if before[:-1] == after[:-1]:
            _refuse_both(text, old, new)
            edited = _with_name(entry, after[-1])
        else:
            rest, piece, place = _cut(entry, after[-1])
            _refuse_both(rest, old, new)
            edited = _insert(rest, after, piece, (before[:-1], place))
    except YAMLError:  # an anchor was cut from its alias
        edited = ""
    value = _pop(expected, before)
    _put(expected, after, value)
    return _checked(edited, expected, old)


def remove_key(text: str, key: str) -> str:
    """Remove a key, its value and the comments that belong to it; a section that it leaves empty goes too.

    Raises
    ------
    ParamsError
        When the text cannot be edited safely.
    """
    expected = _load(text)
    _pop(expected, key.split("."))
    return _checked(_cut(_present(text, key), "")[0], expected, key)


@dataclass(frozen=True)
class Line:
    """One line of text: what comes before its comment, and the comment in its column."""

    code: str
    comment: str = ""
    column: int = 0

    def __str__(self) -> str:
        if not self.comment:
            return self.code
        code = self.code.rstrip()
        return f"{code:<{self.column - 1}} {self.comment}" if code else " " * self.column + self.comment

    @property
    def is_comment(self) -> bool:
        return bool(self.comment) and not self.code.strip()


class Document:
    """YAML text with its tree of nodes; lines are counted from 0."""

    def __init__(self, text: str) -> None:
        self.text, self.lines = text, text.split("\n")
        self.root: Node | None = YAML(typ="safe", pure=True).compose(text)
        self.code_ends: dict[int, int] = {}  # line -> column at which its last key or value ends
        self.inside: set[int] = set()  # lines in the middle of a scalar of several lines
        for node in _nodes(self.root):
            self._note(node)

    def _note(self, node: Node) -> None:
        start, end = node.start_mark, node.end_mark
        if isinstance(node, ScalarNode) and end.line > start.line:
            in_block = node.style is not None and node.style in "|>"
            last = self.line_of(self.content_end(node, start.index))
            self.inside |= set(range(start.line + 1, last + 1))
            if in_block:
                return
            self.code_ends[start.line] = len(self.lines[start.line])
        if isinstance(node, ScalarNode) or node.flow_style:
            self.code_ends[end.line] = max(self.code_ends.get(end.line, 0), end.column)

    def line(self, number: int) -> Line:
        text = self.lines[number]
        start = self.code_ends.get(number, len(text) if number in self.inside else 0)
        column = text.find("#", start)
        if column < 0 or (start == 0 and text[:column].strip()):
            return Line(text)
        return Line(text[:column], text[column:], column)

    def line_of(self, index: int) -> int:
        return self.text.count("\n", 0, index)

    def content_end(self, node: Node, key_end: int) -> int:
        """Where the last character of a value is, without comments and blank lines after it."""
        if node.start_mark.index < key_end:  # an alias: the node is where its anchor is
            return key_end
        if isinstance(node, ScalarNode) and node.style is None and not node.value:  # nothing: its place is not defined
            return key_end
        if isinstance(node, ScalarNode):
            block = node.style is not None and node.style in "|>"
            return len(self.text[: node.end_mark.index].rstrip()) if block else int(node.end_mark.index)
        if node.flow_style:
            return int(node.end_mark.index)
        key, value = node.value[-1] if isinstance(node, MappingNode) else (node, node.value[-1])
        return self.content_end(value, key.end_mark.index if isinstance(node, MappingNode) else 0)


@dataclass(frozen=True)
class Entry:
    """A key and its value in the mapping `parent`, which is the value of the entry `outer` (None: the whole text)."""

    document: Document
    outer: Entry | None
    parent: MappingNode
    key: Node
    value: Node

    @property
    def column(self) -> int:
        return int(self.key.start_mark.column)

    @property
    def span(self) -> tuple[int, int]:
        """First and last index of key and value."""
        return self.key.start_mark.index, self.document.content_end(self.value, self.key.end_mark.index)

    @property
    def lines(self) -> range:
        """The numbers of its lines in a block, comments that belong to it among them."""
        document, first = self.document, int(self.key.start_mark.line)
        while first and document.line(first - 1).is_comment and document.line(first - 1).column == self.column:
            first -= 1
        end = document.line_of(self.span[1]) + 1
        for number in range(end, len(document.lines)):
            line = document.line(number)
            if line.is_comment and line.column > self.column:
                end = number + 1
            elif line.code.strip() or line.comment:
                break
        return range(first, end)


def find(document: Document, path: Sequence[str]) -> Entry | None:
    """The entry with this path; None where there is none."""
    outer: Entry | None = None
    node = document.root
    for part in path:
        if not isinstance(node, MappingNode):
            return None
        pair = next(((key, value) for key, value in node.value if key.value == part), None)
        if pair is None:
            return None
        outer = Entry(document, outer, node, *pair)
        node = outer.value
    return outer


def _present(text: str, key: str) -> Entry:
    if entry := find(Document(text), key.split(".")):
        return entry
    raise ParamsError(f"{key!r} is not written as a key of its own (a YAML merge or alias?); rename it by hand")


def _refuse_both(text: str, old: str, new: str) -> None:
    if find(Document(text), new.split(".")):
        raise ParamsError(f"both {old!r} and its new name {new!r} are written; remove one of them")


def _nodes(node: Node | None) -> Iterator[Node]:
    if node is None:
        return
    yield node
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield from _nodes(key)
            yield from _nodes(value)
    elif isinstance(node, SequenceNode):
        for child in node.value:
            yield from _nodes(child)


def _quoted_alike(key: Node, name: str) -> str:
    quote = key.style if isinstance(key, ScalarNode) and key.style in ("'", '"') else ""
    return f"{quote}{name}{quote}"


def _named(entry: Entry, name: str) -> Line:
    """The line of an entry's key, with another name."""
    line, start, end = entry.document.line(entry.key.start_mark.line), entry.column, entry.key.end_mark.column
    return replace(line, code=line.code[:start] + _quoted_alike(entry.key, name) + line.code[end:])


def _with_name(entry: Entry, name: str) -> str:
    lines = list(entry.document.lines)
    lines[entry.key.start_mark.line] = str(_named(entry, name))
    return "\n".join(lines)


def _cut(entry: Entry, name: str) -> tuple[str, list[Line], int]:
    """The text without the entry; the entry's lines, its key called `name`; the line on which it was."""
    if entry.parent.flow_style:
        return _cut_from_braces(entry, name)
    document, lines = entry.document, entry.lines
    key_line = entry.key.start_mark.line
    piece = [_named(entry, name) if number == key_line else document.line(number) for number in lines]
    if len(entry.parent.value) == 1 and entry.outer:
        return _cut_with_section(entry.outer, piece, set(lines), entry.column)
    return "\n".join([*document.lines[: lines.start], *document.lines[lines.stop :]]), piece, lines.start


def _cut_with_section(section: Entry, piece: list[Line], taken: set[int], column: int) -> tuple[str, list[Line], int]:
    """Cut a section that the cut piece leaves empty; its comments are put above the piece."""
    rest, lines, place = _cut(section, "")
    if section.parent.flow_style:
        return rest, piece, place
    first = section.lines.start
    kept = [line for number, line in enumerate(lines, first) if number not in taken and line.comment]
    return rest, [*(Line("", line.comment, column) for line in kept), *piece], place


def _cut_from_braces(entry: Entry, name: str) -> tuple[str, list[Line], int]:
    text, (start, end) = entry.document.text, entry.span
    value = text[entry.key.end_mark.index : end]
    code = _quoted_alike(entry.key, name) + (value if "\n" not in value else f": {_in_braces(entry)}")
    pairs = entry.parent.value
    if len(pairs) == 1 and entry.outer:
        return _cut_with_section(entry.outer, [Line(code)], set(), 0)
    number = next(i for i, (key, _) in enumerate(pairs) if key is entry.key)
    if number + 1 < len(pairs):
        end = pairs[number + 1][0].start_mark.index
    elif number:
        start = entry.document.content_end(pairs[number - 1][1], pairs[number - 1][0].end_mark.index)
    return text[:start] + text[end:], [Line(code)], entry.key.start_mark.line


def _insert(text: str, path: Sequence[str], piece: list[Line], origin: tuple[Sequence[str], int]) -> str:
    """Put the lines of an entry into the section `path[:-1]`: at its end, or where it was if it was there before."""
    document, depth = Document(text), 0
    section: Entry | None = None
    while depth < len(path) - 1 and (inner := find(document, path[: depth + 1])):
        if str(inner.value.tag).endswith(":null"):
            colon = text.index(":", inner.key.end_mark.index)
            end = max(inner.span[1], colon + 1)
            return _insert(text[: colon + 1] + " {}" + text[end:], path, piece, origin)
        if not isinstance(inner.value, MappingNode):
            raise ParamsError(f"{'.'.join(path)!r} cannot be written, since {path[depth]!r} is no section")
        section, depth = inner, depth + 1
    mapping: Any = section.value if section else document.root
    if mapping is not None and mapping.flow_style:
        return _insert_in_braces(document, mapping, path[depth:-1], piece)
    column = mapping.value[0][0].start_mark.column if mapping is not None else 0
    missing = [Line(" " * (column + INDENT * i) + f"{name}:") for i, name in enumerate(path[depth:-1])]
    new = [*missing, *_indented(piece, column + INDENT * len(missing))]
    parent, place = origin
    if mapping is not None and list(path[:depth]) != list(parent):
        last = find(document, [*path[:depth], mapping.value[-1][0].value])
        assert last is not None
        place = last.lines.stop
        if depth == 0 and "" in document.lines[:place]:  # sections with blank lines between them
            new.insert(0, Line(""))
    return "\n".join([*document.lines[:place], *map(str, new), *document.lines[place:]])


def _insert_in_braces(document: Document, mapping: Node, missing: Sequence[str], piece: list[Line]) -> str:
    """As `key: value` behind the last one; comments are put above the line on which the braces open."""
    key, value = next(iter(_load("\n".join(map(str, piece))).items()))
    code = next(line.code.strip() for line in piece if line.code.strip())
    if sum(bool(line.code.strip()) for line in piece) > 1 or set(code) & set("{}[],"):
        code = f"{key}: {_flow(value)}"
    for name in reversed(missing):
        code = f"{name}: {{{code}}}"
    if mapping.value:
        last_key, last = mapping.value[-1]
        place, code = document.content_end(last, last_key.end_mark.index), f", {code}"
    else:
        place = mapping.end_mark.index - 1
    lines = (document.text[:place] + code + document.text[place:]).split("\n")
    opening = mapping.start_mark.line
    indent = len(lines[opening]) - len(lines[opening].lstrip())
    comments = [str(Line("", line.comment, indent)) for line in piece if line.comment]
    return "\n".join([*lines[:opening], *comments, *lines[opening:]])


def _indented(piece: list[Line], column: int) -> list[Line]:
    """The lines with the first one's code at `column`; comments beside code keep their column where there is room."""
    first = next(line.code for line in piece if line.code.strip())
    shift = column - (len(first) - len(first.lstrip()))
    moved: list[Line] = []
    beside: dict[int, int] = {}  # column of the comment beside the last code -> its new column
    for line in piece:
        code = (
            " " * (len(line.code) - len(line.code.lstrip()) + shift) + line.code.lstrip() if line.code.strip() else ""
        )
        new = replace(line, code=code)
        if line.is_comment:
            new = replace(new, code="", column=beside.get(line.column, max(line.column + shift, 0)))
        elif line.comment:
            new = replace(new, column=max(line.column, len(code.rstrip()) + 1))
            beside = {line.column: new.column}
        moved.append(new)
    return moved


def _in_braces(entry: Entry) -> str:
    return _flow(_load(entry.document.text[entry.key.end_mark.index : entry.span[1]].lstrip(": \n")))


def _flow(value: Any) -> str:
    """A value on one line."""
    yaml, text = YAML(typ="safe", pure=True), StringIO()
    yaml.default_flow_style, yaml.width, yaml.allow_unicode = True, 10**6, True
    yaml.dump(value, text)
    return text.getvalue().removesuffix("...\n").strip()


def _load(text: str) -> Any:
    return YAML(typ="safe").load(text)


def _pop(raw: dict[str, Any], path: Sequence[str]) -> Any:
    """Remove a key from nested dicts, and the sections that it leaves empty; returns its value."""
    if len(path) == 1:
        return raw.pop(path[0])
    value = _pop(raw[path[0]], path[1:])
    if not raw[path[0]]:
        del raw[path[0]]
    return value


def _put(raw: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for part in path[:-1]:
        raw[part] = raw.get(part) or {}
        raw = raw[part]
    raw[path[-1]] = value


def _checked(text: str, expected: Any, key: str) -> str:
    """The edited text, if it holds what it should."""
    try:
        done = (_load(text) or {}) == expected
    except YAMLError:
        done = False
    if not done:
        raise ParamsError(f"{key!r} stands where its line cannot be edited safely; rename or remove it by hand")
    return text
