"""`make dag`: write the `deps:` of every stage into dvc.yaml, from the import closure of its code.

The generated lines stand between two markers; all else in dvc.yaml is written by hand. A folder stands for its files
where the closure holds every one of them. Of a plugin table that params choose from, the chosen plugin is a dependency
(`pipeline/methods/${train.method}.py`), and what any plugin of the table imports: dvc.yaml cannot say more precisely
which one needs what. `collect` has no such lines: it crawls the sources, and an edit of its code is no reason to crawl
again.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.core.errors import InputError, PaleoError
from pipeline.core.import_closure import PACKAGE, PLUGIN_TABLES, closure, import_closure, plugins

BEGIN, END = "# code of this stage, by `make dag`", "# end of the code"
BLOCK = re.compile(rf"^(?P<indent> *){re.escape(BEGIN)}\n.*?^ *{re.escape(END)}\n", re.MULTILINE | re.DOTALL)
STANZA = re.compile(r"^  (\w+):$", re.MULTILINE)


def generated(root: Path, text: str) -> str:
    """The text of dvc.yaml with every block between the markers made anew.

    Raises
    ------
    InputError
        When a stage has no file, a source file is not valid Python, or a plugin does not lie in a file of its name.
    """

    def block(match: re.Match[str]) -> str:
        stage = STANZA.findall(text[: match.start()])[-1]
        lines = [BEGIN, *(f"- {path}" for path in deps(root, stage)), END]
        return "".join(f"{match['indent']}{line}\n" for line in lines)

    return BLOCK.sub(block, text)


def deps(root: Path, stage: str) -> list[str]:
    """Code that the stage's result depends on: files, whole folders, and the plugins that the params choose."""
    if not (root / PACKAGE / f"{stage}.py").is_file():
        raise InputError(f"dvc.yaml has a stage {stage!r}, but there is no {PACKAGE}/{stage}.py; write it")
    own = closure(root, [f"{PACKAGE}.{stage}"])
    files = own.files | {path for table in own.chosen_tables for path in _shared_by_plugins(root, table)}
    chosen = (f"{Path(table).parent.as_posix()}/${{{PLUGIN_TABLES[table]}}}.py" for table in own.chosen_tables)
    return sorted([*_compacted(root, files), *chosen])


def _shared_by_plugins(root: Path, table: str) -> Iterator[str]:
    """What each plugin of a table imports, without the plugin's own file; tables that plugins choose from included."""
    folder = Path(table).parent.as_posix()
    for name, entry in plugins(root, table).items():
        module, own = entry.partition(":")[0], f"{folder}/{name}.py"
        if f"{module.replace('.', '/')}.py" != own:
            raise InputError(
                f"{table} names {entry!r} under {name!r}; dvc.yaml finds plugins by their names, so it must be in {own}"
            )
        yield from set(import_closure(root, [module])) - {own}


def _compacted(root: Path, files: set[str]) -> Iterable[str]:
    """Folders in place of all their files; a plugin table is in no closure, so its folder never is whole."""
    complete = [folder for folder in _folders(root) if _files(root, folder) <= files]
    tops = [folder for folder in complete if not any(folder.startswith(f"{other}/") for other in complete)]
    return [*tops, *(path for path in files if not any(path.startswith(f"{folder}/") for folder in tops))]


def _folders(root: Path) -> list[str]:
    found = sorted(path for path in (root / PACKAGE).rglob("*") if path.is_dir() and path.name != "__pycache__")
    names = (path.relative_to(root).as_posix() for path in found)
    return [name for name in names if _files(root, name)]


def _files(root: Path, folder: str) -> set[str]:
    paths = (path for path in (root / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(root).as_posix() for path in paths}


def main() -> int:
    """Rewrite dvc.yaml of the current folder; the exit code."""
    root, file = Path.cwd(), Path("dvc.yaml")
    try:
        file.write_text(generated(root, file.read_text(encoding="utf-8")), encoding="utf-8")
    except PaleoError as error:
        print(f"make dag: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
