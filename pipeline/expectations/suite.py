"""What a suite of expectations is: a table of facts about a data set, and what is expected of its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from pipeline.core.data_params import Validate
from pipeline.expectations import picture_facts
from pipeline.expectations.expectation import Expectation


@dataclass(frozen=True)
class Limits:
    """The params that expectations read: of `validate`, and those of other stages that must hold of their results.

    `name` is the species' name, `licences` the allow-list; sizes and hash distances are those of curation.
    """

    name: str
    licences: tuple[str, ...]
    min_side_px: int
    max_aspect: float
    phash_bits: int
    dhash_bits: int
    validate: Validate


@dataclass(frozen=True)
class DataSet:
    """What is validated.

    `manifest` is the table of candidates, `stored_bytes` the sizes of the files of data/raw by path; `kept` is the
    table of curated pictures, `inspected` has one row per row of it with what its file really is (see
    `pipeline.io.images.file_facts`); `previous` are the statistics of the version before (see `drift`).
    """

    manifest: pd.DataFrame
    stored_bytes: Mapping[str, int]
    kept: pd.DataFrame
    inspected: pd.DataFrame
    limits: Limits
    previous: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @cached_property
    def pictures(self) -> pd.DataFrame:
        """The facts about curated pictures, which several suites read."""
        bits = self.limits.phash_bits, self.limits.dhash_bits
        return picture_facts.facts(self.kept, self.inspected, self.limits.licences, *bits)


@dataclass(frozen=True)
class Suite:
    """Expectations about the rows of one table of facts.

    `layer` is the section of the page, `noun` what the rows are called, `index` the column that names them. For the
    page, the facts may hold the picture of a row: `file_name` in the curated set, or the sha256 of a `thumbnail`.
    """

    layer: str
    noun: str
    index: str
    facts: Callable[[DataSet], pd.DataFrame]
    expectations: Callable[[Limits], tuple[Expectation, ...]]
