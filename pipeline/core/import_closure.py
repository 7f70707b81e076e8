"""The import closure of a module: every file of this project that running it reads.

One function says what a result was computed by: `deps:` in dvc.yaml, the code digest of a lineage, and the cache keys
of sampling and measuring all come from it. It parses the sources and imports nothing.

The plugins that a registry in an `__init__.py` names (`"pipeline.metrics.clip_i:METRIC"`) count as imported.
Two kinds of files are left out, each by an explicit list:

- observers: terminal and tracking code shows a result and cannot change it;
- plugin tables: of a registry such as `METHODS` one plugin is used, so one that was not chosen changes nothing. The
  chosen one is handed over as a further entry.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from pipeline.core.lineage import digest_file, digest_json

PACKAGE = "pipeline"
ROOT = Path(__file__).parents[2]  # where the code lies, which need not be the project's folder
OBSERVERS = ("pipeline/io/terminal/", "pipeline/io/tracking/")
PLUGIN = re.compile(rf"({PACKAGE}(?:\.\w+)+):\w+")
PLUGIN_TABLES = (
    "pipeline/methods/__init__.py",
    "pipeline/families/__init__.py",
    "pipeline/sources/__init__.py",
    "pipeline/curation/__init__.py",
)


def import_closure(root: Path, entries: Iterable[str]) -> tuple[str, ...]:
    """Files of `root/pipeline` that the modules `entries` (`pipeline.train` …) import, directly or not, and themselves.

    Imports inside functions count; those under `if TYPE_CHECKING:` do not. What lies beside a module and is no Python
    (a page's templates) belongs to it. The paths are relative to `root`, with `/`, sorted.
    """
    found: set[str] = set()
    waiting = [path for name in entries for path in _files_of(root, name)]
    while waiting:
        path = waiting.pop()
        if path in found or path.startswith(OBSERVERS):
            continue
        found.add(path)
        if path not in PLUGIN_TABLES:
            waiting += [file for name in _imported(root / path) for file in _files_of(root, name)]
    return tuple(sorted((found - set(PLUGIN_TABLES)) | {beside for path in found for beside in _beside(root, path)}))


def code_digest(entries: Iterable[str], root: Path = ROOT) -> str:
    """sha256 over the names and contents of the import closure of these modules."""
    return digest_json([(path, digest_file(root / path)) for path in import_closure(root, entries)])


def _files_of(root: Path, name: str) -> Iterator[str]:
    """The file of a module, and the `__init__.py` of every package above it; nothing for a module that is not ours."""
    parts = name.split(".")
    if parts[0] != PACKAGE:
        return
    for end in range(1, len(parts) + 1):
        stem = "/".join(parts[:end])
        for path in (f"{stem}.py", f"{stem}/__init__.py"):
            if (root / path).is_file():
                yield path


@cache
def _imported(path: Path) -> tuple[str, ...]:
    """The dotted names that a source file imports; of `from a import b` both `a` and `a.b`, whichever is a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    names = [name for node in _run_nodes(tree) for name in _names(node)]
    return tuple(names + _plugins(tree) if path.name == "__init__.py" else names)


def _run_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _run_nodes(node)


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _plugins(tree: ast.AST) -> list[str]:
    """The modules that a registry names."""
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [match[1] for text in texts if (match := PLUGIN.fullmatch(text))]


def _beside(root: Path, path: str) -> Iterator[str]:
    """Templates and the like in the folder of a module, and in folders of it that hold no Python."""
    folder = (root / path).parent
    if folder == root / PACKAGE:
        return
    for other in folder.iterdir():
        if other.is_file() and other.suffix != ".py" and not other.name.startswith("."):
            yield other.relative_to(root).as_posix()
    templates = folder / "templates"
    if templates.is_dir():
        yield from (p.relative_to(root).as_posix() for p in templates.rglob("*") if p.is_file())
