"""Params that record which of their keys are read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.import_closure import OBSERVERS, ROOT
from pipeline.core.param_types import Section
from pipeline.core.params import Params

WHOLE = {"__dict__", "model_dump", "model_dump_json", "model_copy"}  # how all of a section is read


@contextmanager
def recorded(params: Params) -> Iterator[set[str]]:
    """The dotted keys that are read of these params while the context is open; of a section only what is read in it.

    What observers read (terminal and tracking code) does not count: it cannot change a result.
    """
    keys: set[str] = set()
    sections = {id(section): (section, key) for key, section in _sections(params, "")}  # held, so that ids stay unique
    plain = Section.__getattribute__

    def record(key: str) -> None:
        if key not in keys and not _by_observer():
            keys.add(key)

    def read(self: Section, name: str) -> Any:
        value = plain(self, name)
        if (found := sections.get(id(self))) is None:
            return value
        if name in WHOLE:
            record(found[1] or "everything")
        elif name in type(self).model_fields and not isinstance(value, Section):
            key = _joined(found[1], _written(self, name))
            if isinstance(value, dict) and any(isinstance(item, Section) for item in value.values()):
                return RecordedDict(value, lambda: record(key))
            record(key)
        return value

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Section, "__getattribute__", read)
        yield keys


class RecordedDict(dict):
    """Sections by name: taking one records nothing, iterating or counting reads all of them."""

    def __init__(self, items: dict, record_all: Any) -> None:
        super().__init__(items)
        self._record_all = record_all

    def __iter__(self):
        self._record_all()
        return super().__iter__()

    def __len__(self):
        self._record_all()
        return super().__len__()

    def keys(self):
        self._record_all()
        return super().keys()

    def values(self):
        self._record_all()
        return super().values()

    def items(self):
        self._record_all()
        return super().items()


def covers(named: str, key: str) -> bool:
    """Whether a key of `params:` in dvc.yaml holds this key: it is the same, or a section above it."""
    return key == named or key.startswith(f"{named}.")


def _sections(section: Section, key: str) -> Iterator[tuple[str, Section]]:
    yield key, section
    for name in type(section).model_fields:
        value, own = getattr(section, name), _joined(key, _written(section, name))
        if isinstance(value, Section):
            yield from _sections(value, own)
        elif isinstance(value, dict):
            for entry, item in value.items():
                if isinstance(item, Section):
                    yield from _sections(item, f"{own}.{entry}")


def _joined(section: str, name: str) -> str:
    return f"{section}.{name}" if section else name


def _written(section: Section, name: str) -> str:
    """The key in params.yaml of a field, such as `validate` of `validate_`."""
    return type(section).model_fields[name].alias or name


def _by_observer() -> bool:
    folders = tuple(str(ROOT / folder) for folder in OBSERVERS)
    frame = sys._getframe(2)
    while frame is not None:
        if str(Path(frame.f_code.co_filename)).startswith(folders):
            return True
        frame = frame.f_back
    return False
