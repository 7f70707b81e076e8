"""Running suites with Great Expectations: the only place that imports it, which takes three seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pandas as pd

if TYPE_CHECKING:
    from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext

GX_SEVERITY = {"stop": "critical", "warn": "warning"}
MAX_NAMED = 200  # offenders of one expectation; their number is counted in full


class SerialisedExpectation(Protocol):
    """An expectation as Great Expectations serialises it, with a name and what happens when it fails."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def kwargs(self) -> Mapping[str, Any]: ...
    @property
    def severity(self) -> Literal["stop", "warn"]: ...


@dataclass(frozen=True)
class ExpectationResult:
    """What an expectation found.

    `observed` is the value of a whole-table expectation, else None; `n` counts the rows that were judged; `offending`
    has (row, value) of the first MAX_NAMED offenders, sorted by row; `error` is why it could not be checked.
    """

    success: bool
    observed: Any
    n: int
    offending: tuple[tuple[str, Any], ...]
    n_offending: int
    error: str


def run_suite(
    facts: pd.DataFrame, expectations: Iterable[SerialisedExpectation], index: str
) -> dict[str, ExpectationResult]:
    """Check a table, whose rows the column `index` names; the results by the names of the expectations.

    Nothing volatile is in them: run ids and times of Great Expectations are left out.
    """
    import great_expectations as gx

    facts = facts.sort_values(index, kind="stable", ignore_index=True)
    asset = _context().data_sources.add_pandas("data set").add_dataframe_asset(index)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": facts})
    # COMPLETE, or naming the index column, builds lists row by row: 20 s where a hundred thousand offend
    form = {"result_format": "SUMMARY", "partial_unexpected_count": MAX_NAMED}
    configs = [
        {"type": e.type, "kwargs": dict(e.kwargs), "severity": GX_SEVERITY[e.severity], "meta": {"name": e.name}}
        for e in expectations
    ]
    results = batch.validate(gx.ExpectationSuite(name="data set", expectations=configs), result_format=form)
    return dict(_result(result.to_json_dict(), facts[index]) for result in results.results)


def _context() -> EphemeralDataContext:
    """All in memory, silent: no folder of documents, no usage statistics, no bars."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    settings = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
    )
    return gx.get_context(mode="ephemeral", project_config=settings)


def _result(result: Mapping[str, Any], names: pd.Series) -> tuple[str, ExpectationResult]:
    """The name of an expectation and the part of its result that depends on nothing but the data."""
    found = result["result"]
    rows, values = found.get("partial_unexpected_index_list") or (), found.get("partial_unexpected_list") or ()
    whole_table = "element_count" not in found
    judged = found.get("observed_value") if whole_table else found["element_count"] - found.get("missing_count", 0)
    return result["expectation_config"]["meta"]["name"], ExpectationResult(
        success=bool(result["success"]),
        observed=found.get("observed_value"),
        n=int(judged or 0),
        offending=tuple((str(names[row]), value) for row, value in zip(rows, values)),
        n_offending=int(found.get("unexpected_count") or 0),
        error=_error(result["exception_info"]),
    )


def _error(info: Mapping[str, Any]) -> str:
    """What kept an expectation from being checked; Great Expectations nests it by metric, or does not."""
    entries = [info] if "raised_exception" in info else [*info.values()]
    return next((str(entry["exception_message"]) for entry in entries if entry["raised_exception"]), "")
