"""`paleo params`: all params with their documentation, one of them, or old keys renamed in place."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.commands.listings import Listing
from pipeline.core import param_docs, registry, yaml_edit
from pipeline.core import params as params_module
from pipeline.core.errors import InputError, ParamsError
from pipeline.core.param_docs import Param
from pipeline.core.records import Report
from pipeline.core.renamed_params import REMOVED, RENAMED, renamed
from pipeline.io.files.atomic_write import write_text

HEADER = """# Params of {file}, resolved. `default`: not written there; `written`: written there.
# Change a value in {file}; what equals its default need not be written.
"""


def show(file: Path, *, all_plugins: bool = False) -> Listing:
    """All params with documentation, of the plugins those that are used, or all.

    Raises
    ------
    ParamsError
        When the file is missing or wrong.
    """
    params = params_module.load(file)
    found = param_docs.tree(
        params, _raw(file), [path.partition(".")[2] for path in param_docs.plugin_paths()] if all_plugins else ()
    )
    lines = (HEADER.format(file=file.name), *param_docs.as_yaml(found).splitlines())
    return Listing("params", lines, data={param.path: _as_data(param) for param in _leaves(found)})


def show_key(file: Path, key: str) -> Listing:
    """One param with its value, documentation and default; a section with all that is below it.

    Raises
    ------
    InputError
        When there is no such key; it names the nearest one.
    ParamsError
        When the file is missing or wrong.
    """
    if key in RENAMED or key in REMOVED:
        now = f"called {RENAMED[key]!r} now" if key in RENAMED else f"no param any more ({REMOVED[key]})"
        raise InputError(f"{key!r} is {now}")
    known = param_docs.known_keys(params_module.load(file), _raw(file), key)
    if key not in known:
        raise InputError(f"no param {key!r}; {_hint(key, known)}")
    param = known[key]
    if param.children:
        lines = param_docs.as_yaml([replace(param, name=key)]).splitlines()
        return Listing("params", tuple(lines), data={leaf.path: _as_data(leaf) for leaf in _leaves([param])})
    return Listing("params", tuple(_lines(param, file.name)), data={param.path: _as_data(param)})


def rewrite(file: Path, *, dry_run: bool = False) -> Report:
    """Rename old keys in a params file or profile, and remove those that are gone; all else stays as it is.

    Raises
    ------
    InputError
        When there is no such file.
    ParamsError
        When it is no YAML, or an old key cannot be renamed safely; nothing is written then.
    """
    before = _text(file)
    windows = "\r\n" in before
    text, lines = rewritten(before.replace("\r\n", "\n"), file.name)
    if not lines:
        return Report("params", (f"{file.name} has no old keys; nothing to rename",))
    if not dry_run:
        write_text(file, text.replace("\n", "\r\n") if windows else text)
    done = "dry run: nothing was written" if dry_run else f"{len(lines)} old keys changed in {file.name}"
    return Report("params", (*lines, done))


def rewritten(text: str, where: str) -> tuple[str, list[str]]:
    """The text with its old keys renamed, and a line for each of them.

    Raises
    ------
    ParamsError
        When it is no YAML, or an old key cannot be renamed safely.
    """
    lines = []
    for old in (*RENAMED, *REMOVED):
        if old not in renamed(params_module.sections(text, where)):
            continue
        try:
            if old in RENAMED:
                text = yaml_edit.rename_key(text, old, RENAMED[old])
                lines.append(f"{old} -> {RENAMED[old]}")
            else:
                text = yaml_edit.remove_key(text, old)
                lines.append(f"{old} removed: {REMOVED[old]}")
        except ParamsError as error:
            raise ParamsError(f"{where}: {error}; nothing was written") from None
    return text, lines


def _hint(key: str, known: Mapping[str, Param]) -> str:
    """The nearest key: with the same name in another section, else by its letters."""
    name = key.rpartition(".")[2]
    same = [path for path in known if path.rpartition(".")[2] == name]
    return f"did you mean {same[0]!r}?" if same else registry.hint(key, [*known, *param_docs.plugin_paths()])


def _leaves(params: Collection[Param]) -> Iterator[Param]:
    return (param for param in param_docs.walk(params) if not param.children)


def _as_data(param: Param) -> dict[str, Any]:
    """A param for programs; without `default` it must be written."""
    default = {} if param.default is param_docs.NO_DEFAULT else {"default": param.default}
    return {"value": param.value, **default, "written": param.written, "doc": param.doc}


def _lines(param: Param, where: str) -> list[str]:
    facts = [param.doc]
    default = "none, it must be written" if param.default is param_docs.NO_DEFAULT else param_docs.flow(param.default)
    place = f"written in {where}" if param.written else f"not written in {where}"
    facts += [f"Default: {default}", f"Present value: {param_docs.flow(param.value)} ({place})"]
    return [param.path, *(f"  {fact}" for fact in facts if fact)]


def _raw(file: Path) -> Mapping[str, Any]:
    return params_module.sections(_text(file), file.name)


def _text(file: Path) -> str:
    """The text with its own line ends."""
    try:
        return file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise InputError(f"there is no file {file}") from None
    except UnicodeDecodeError as error:
        raise ParamsError(f"{file} is not UTF-8 text ({error.reason} at byte {error.start})") from None
