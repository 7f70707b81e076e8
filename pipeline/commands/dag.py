"""`make dag`: write the `deps:` of every stage into dvc.yaml, from the import closure of its code.

The generated lines stand between two markers; all else in dvc.yaml is written by hand. A folder stands for its files
where the closure holds every one of them. `collect` has no such lines: it looks at the world, and an edit of its code
is no reason to look again.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pipeline.core.import_closure import import_closure

BEGIN, END = "# code of this stage, by `make dag`", "# end of the code"
BLOCK = re.compile(rf"^(?P<indent> *){re.escape(BEGIN)}\n.*?^ *{re.escape(END)}\n", re.MULTILINE | re.DOTALL)
STANZA = re.compile(r"^  (\w+):$", re.MULTILINE)
CHOSEN_BY = {"pipeline/methods/__init__.py": "${train.method}", "pipeline/families/__init__.py": "${base.family}"}
# Tables of which a stage that imports this module uses every plugin.
LOADED_BY = {"pipeline/curation/__init__.py": "pipeline/curation/all_checks.py"}


def generated(root: Path, text: str) -> str:
    """The text of dvc.yaml with every block between the markers made anew."""

    def block(match: re.Match[str]) -> str:
        stage = STANZA.findall(text[: match.start()])[-1]
        lines = [BEGIN, *(f"- {path}" for path in deps(root, stage)), END]
        return "".join(f"{match['indent']}{line}\n" for line in lines)

    return BLOCK.sub(block, text)


def deps(root: Path, stage: str) -> list[str]:
    """Code that the stage's result depends on: files, whole folders, and the plugins that the params choose."""
    entry = f"pipeline.{stage}"
    tables = [table for table in CHOSEN_BY if _uses(root, entry, table)]
    plugins = [module for table in tables for module in _plugins(root, table)]
    own = {module.replace(".", "/") + ".py" for module in plugins}
    closure = set(import_closure(root, [entry, *plugins])) - own | _all_used(root, entry)
    chosen = [f"{Path(table).parent}/{CHOSEN_BY[table]}.py" for table in tables]
    return sorted([*_compacted(root, closure), *chosen])


def _uses(root: Path, entry: str, table: str) -> bool:
    return any(Path(path).parent == Path(table).parent for path in import_closure(root, [entry]))


def _all_used(root: Path, entry: str) -> set[str]:
    """The plugin tables of which the stage uses everything, and the closures of their plugins."""
    tables = [table for table, loader in LOADED_BY.items() if loader in import_closure(root, [entry])]
    plugins = [module for table in tables for module in _plugins(root, table)]
    return {*tables, *import_closure(root, plugins)}


def _plugins(root: Path, table: str) -> Iterator[str]:
    """The modules that a plugin table names, as `pipeline.methods.lora:Lora` or without what is in it."""
    folder = Path(table).parent.as_posix().replace("/", ".")
    names = re.findall(rf'"({re.escape(folder)}\.\w+):\w+"', (root / table).read_text(encoding="utf-8"))
    yield from dict.fromkeys(names)


def _compacted(root: Path, closure: set[str]) -> Iterator[str]:
    """Folders in place of all their files; plugin tables are no part of a closure, so their folders never are whole."""
    whole = [folder for folder in _folders(root) if _files(root, folder) <= closure]
    tops = [folder for folder in whole if not any(folder.startswith(f"{other}/") for other in whole)]
    yield from tops
    yield from (path for path in closure if not any(path.startswith(f"{folder}/") for folder in tops))


def _folders(root: Path) -> list[str]:
    found = sorted(path for path in (root / "pipeline").rglob("*") if path.is_dir() and path.name != "__pycache__")
    names = (path.relative_to(root).as_posix() for path in found)
    return [name for name in names if _files(root, name)]


def _files(root: Path, folder: str) -> set[str]:
    paths = (path for path in (root / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(root).as_posix() for path in paths}


def main() -> int:
    """Rewrite dvc.yaml of the current folder."""
    root = Path.cwd()
    file = root / "dvc.yaml"
    file.write_text(generated(root, file.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
