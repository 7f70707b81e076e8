"""The import closure of a module: every file of this project that decides what running it computes.

One function says what a result was computed by: `deps:` in dvc.yaml, the code digest of a lineage, and the cache keys
of sampling and measuring all come from it. It parses the sources and imports nothing.

Two kinds of files are left out, each by an explicit list:

- observers: terminal and tracking code shows a result and cannot change it;
- plugin tables that params choose from, such as `METHODS`: a plugin that was not chosen changes nothing. The chosen one
  is handed over as a further entry.

What is not seen: modules whose names are computed at run time, anywhere but in a plugin table.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pipeline.core.errors import InputError
from pipeline.core.lineage import digest_file, digest_json

PACKAGE = "pipeline"
ROOT = Path(__file__).parents[2]  # where the code lies, which need not be the project's folder
OBSERVERS = ("pipeline/io/terminal/", "pipeline/io/tracking/")
# The files with plugin tables (dict literals from names to "module:object"), and the key of params.yaml that chooses
# one plugin; without such a key all of them are used.
PLUGIN_TABLES = {
    "pipeline/methods/__init__.py": "train.method",
    "pipeline/families/__init__.py": "base.family",
    "pipeline/sources/__init__.py": "",
    "pipeline/curation/__init__.py": "",
    "pipeline/metrics/__init__.py": "",
    "pipeline/pages/gallery/__init__.py": "",
}
# core imports nothing above it; it looks plugins up to check their params, or to show them
CORE, CORE_NAME = "pipeline/core/", "pipeline.core"
IMPORTERS = ("import_module", "__import__", "load", "plugin")  # functions that take a module's name, or "module:object"
PLUGIN = re.compile(rf"{PACKAGE}(\.\w+)+:\w+")
EVERYTHING = "*"


class Import(NamedTuple):
    """`from module import name`; the name `*` stands for the whole module."""

    module: str
    name: str


@dataclass
class Closure:
    """Files, relative to the root with `/`; the tables among which params choose; what `files` leaves out."""

    files: set[str] = field(default_factory=set)
    chosen_tables: set[str] = field(default_factory=set)


def import_closure(root: Path, entries: Iterable[str]) -> tuple[str, ...]:
    """Files of `root/pipeline` that the modules `entries` (`pipeline.train` …) import, directly or not, and themselves.

    Imports inside functions count; those under `if TYPE_CHECKING:` do not. A plugin table that is used whole brings its
    plugins. Files beside a module that are no Python (a page's templates) belong to the modules that mention them. The
    paths are relative to `root`, with `/`, sorted.

    Raises
    ------
    InputError
        When a file among them is not valid Python.
    """
    return tuple(sorted(closure(root, entries).files))


def closure(root: Path, entries: Iterable[str]) -> Closure:
    """As `import_closure`, with the tables of whose plugins params choose one."""
    found, seen = Closure(), set()
    waiting = [Import(name, EVERYTHING) for name in entries]
    while waiting:
        for path, name in _targets(root, waiting.pop()):
            is_table = path in PLUGIN_TABLES
            if path.startswith(OBSERVERS) or (path, name if is_table else "") in seen:
                continue
            seen.add((path, name if is_table else ""))
            if is_table and not name:  # a package that is imported on the way to one of its modules
                continue
            source, is_chosen_from = _read(root / path), bool(PLUGIN_TABLES.get(path))
            (found.chosen_tables if is_chosen_from else found.files).add(path)
            imports = _imports(source, _package(path), path)
            waiting += (entry for entry in imports if not path.startswith(CORE) or entry.module.startswith(CORE_NAME))
            if is_table and not is_chosen_from and name in (EVERYTHING, *_table_names(source, path)):
                waiting += (Import(*entry.split(":")) for entry in plugins(root, path).values())
    rooms = {room: DataFiles.of(root, room) for room in {_room(path) for path in found.files} if room != PACKAGE}
    found.files |= {file for path in found.files if _room(path) in rooms for file in rooms[_room(path)].used_by(path)}
    return found


def plugins(root: Path, table: str) -> dict[str, str]:
    """The entries of a plugin table by name, as they are written: `{"lora": "pipeline.methods.lora:Lora"}`."""
    tree = _parsed(_read(root / table), table)
    rows = [
        (key, value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values)
    ]
    return {
        str(key.value): str(value.value)
        for key, value in rows
        if isinstance(key, ast.Constant) and isinstance(value, ast.Constant) and _is_plugin(value.value)
    }


def code_digest(entries: Iterable[str], root: Path = ROOT) -> str:
    """sha256 over the names and contents of the import closure of these modules."""
    return digest_json([(path, digest_file(root / path)) for path in import_closure(root, entries)])


def _targets(root: Path, wanted: Import) -> Iterator[tuple[str, str]]:
    """The files that an import runs, each with the name that is taken from it; packages on the way with no name.

    Nothing for a module that is not ours.
    """
    module, name = wanted
    if _file(root, f"{module}.{name}"):
        module, name = f"{module}.{name}", EVERYTHING
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        if path := _file(root, ".".join(parts[:end])):
            yield path, name if end == len(parts) else ""


def _file(root: Path, module: str) -> str:
    """The file of a module or package of ours; empty where there is none."""
    stem = module.replace(".", "/")
    if module.split(".")[0] != PACKAGE:
        return ""
    return next((path for path in (f"{stem}/__init__.py", f"{stem}.py") if (root / path).is_file()), "")


def _room(path: str) -> str:
    """The folder directly below `pipeline/` that a file lies in; `pipeline` itself for those that lie in none."""
    parts = path.split("/")
    return "/".join(parts[:2]) if len(parts) > 2 else PACKAGE


def _package(path: str) -> str:
    return ".".join(Path(path).parent.parts)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@lru_cache(maxsize=1024)
def _parsed(source: str, path: str) -> ast.Module:
    try:
        return ast.parse(source, path)
    except SyntaxError as error:
        raise InputError(f"{path} is not valid Python (line {error.lineno}: {error.msg}); correct it") from None


@lru_cache(maxsize=1024)
def _imports(source: str, package: str, path: str) -> tuple[Import, ...]:
    """What a source file of this package imports."""
    found: list[Import] = []
    constants = _module_constants(_parsed(source, path))
    waiting: list[ast.AST] = [_parsed(source, path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and (checked := _type_checking(node.test)):
            waiting += node.orelse if checked == "if" else node.body
            continue
        found += _imported(node, package, constants)
        waiting += ast.iter_child_nodes(node)
    return tuple(found)


def _type_checking(test: ast.expr) -> str:
    """`if` for `if TYPE_CHECKING`, `not` for `if not TYPE_CHECKING`, else empty."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return "not" if _type_checking(test.operand) == "if" else ""
    return "if" if _name(test) == "TYPE_CHECKING" else ""


def _module_constants(tree: ast.Module) -> dict[str, str]:
    """Names of a module that stand for a text, such as `METRICS = "pipeline.metrics:METRICS"`."""
    values = {name: getattr(node, "value", None) for node in tree.body for name in _bound_names(node)}
    texts = {name: value.value for name, value in values.items() if isinstance(value, ast.Constant)}
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def _imported(node: ast.AST, package: str, constants: Mapping[str, str]) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, EVERYTHING) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parents = package.split(".")[: 1 - node.level or None] if node.level else []
        module = ".".join([*parents, *([node.module] if node.module else [])])
        yield from (Import(module, alias.name) for alias in node.names)
    elif isinstance(node, ast.Call) and node.args and _name(node.func) in IMPORTERS:
        first = node.args[0]
        text = first.value if isinstance(first, ast.Constant) else constants.get(_name(first))
        if isinstance(text, str):
            module, _, name = text.partition(":")
            yield Import(module, name or EVERYTHING)


def _name(node: ast.AST) -> str:
    """`load` for both `load` and `registry.load`."""
    return str(getattr(node, "id", getattr(node, "attr", "")))


@lru_cache(maxsize=64)
def _table_names(source: str, path: str) -> frozenset[str]:
    """The names of a module by which its plugins can be reached: the table, and the functions that read it."""
    bound = {name: node for node in _parsed(source, path).body for name in _bound_names(node)}
    reaching = {name for name, node in bound.items() if any(_is_plugin(n) for n in _strings(node))}
    while more := {name for name, node in bound.items() if reaching & _loaded_names(node)} - reaching:
        reaching |= more
    return frozenset(reaching)


def _bound_names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    for target in getattr(node, "targets", [getattr(node, "target", None)]):
        if isinstance(target, ast.Name):
            yield target.id


def _strings(node: ast.AST) -> Iterator[object]:
    return (n.value for n in ast.walk(node) if isinstance(n, ast.Constant))


def _loaded_names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _is_plugin(value: object) -> bool:
    return isinstance(value, str) and bool(PLUGIN.fullmatch(value))


@dataclass(frozen=True)
class DataFiles:
    """The files of a room that are no Python, such as templates: `mentions` has those that each file names."""

    mentions: dict[str, set[str]]

    @classmethod
    def of(cls, root: Path, room: str) -> DataFiles:
        files = [file for file in (root / room).rglob("*") if file.is_file()]
        data = {file.relative_to(root).as_posix() for file in files if _is_data(file)}
        texts = {file.relative_to(root).as_posix(): _words(file) for file in files if data and _is_text(file)}
        named = {path: {file for file in data if _names(file, path, words)} for path, words in texts.items()}
        return cls({path: found - {path} for path, found in named.items()})

    def used_by(self, module: str) -> set[str]:
        """What the module mentions, directly or not; what is mentioned nowhere belongs to every module beside it."""
        folder = Path(module).parent
        mentioned_anywhere = set().union(*self.mentions.values())
        waiting, used = list(self.mentions.get(module, ())), set[str]()
        waiting += (
            file
            for file in self.mentions
            if not file.endswith(".py") and file not in mentioned_anywhere and Path(file).parent == folder
        )
        while waiting:
            if (file := waiting.pop()) not in used:
                used.add(file)
                waiting += self.mentions[file]
        return used


def _is_data(file: Path) -> bool:
    parts = (file.suffix, file.name[:1], file.name[-1:])
    return "__pycache__" not in file.parts and not (parts[0] == ".py" or parts[1] == "." or parts[2] == "~")


def _is_text(file: Path) -> bool:
    return file.suffix == ".py" or _is_data(file)


def _names(file: str, text: str, words: set[str]) -> bool:
    """Whether a text names a file: by its name in the same folder or in `templates/`, or by the end of its path."""
    path = Path(file)
    beside = path.parent == Path(text).parent or path.parent == Path(text).parent / "templates"
    return (beside and path.name in words) or any(file.endswith(f"/{word}") for word in words if "/" in word)


def _words(file: Path) -> set[str]:
    """The words of a text among which file names can be found; of Python those in its strings, without docstrings."""
    text = file.read_text(encoding="utf-8", errors="ignore")
    if file.suffix == ".py":
        tree = _parsed(text, str(file))
        documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in documentation)
        text = "\n".join(str(node.value) for node in strings)
    return set(re.findall(r"[\w./-]+", text))
