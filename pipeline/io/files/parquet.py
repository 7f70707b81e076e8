"""Parquet tables whose bytes depend on nothing but the rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core import stored_json
from pipeline.core.errors import InputError
from pipeline.io.files.atomic_write import write_bytes

TYPES = {
    "str": (pa.string(), pa.large_string(), pa.null()),
    "int64": (pa.int64(),),
    "float64": (pa.float64(), pa.null()),
    "bool": (pa.bool_(),),
}
MAX_BYTES = 8 * 2**30  # of the rows of a table in memory; ten million pictures have fewer


def write(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame atomically; the same rows give the same bytes."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    write_bytes(path, sink.getvalue().to_pybytes())


def read(path: Path, dtypes: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Read a table.

    Raises
    ------
    InputError
        When it is missing, damaged, no parquet file, or has one of the columns `dtypes` (str, int64, float64, bool)
        with another type.
    """
    try:
        size_bytes = sum(group.total_byte_size for group in _row_groups(path))
        if size_bytes > MAX_BYTES:
            raise ValueError(f"its rows would take {size_bytes} bytes")
        table = pq.read_table(path, page_checksum_verification=True)
        _check_types(table.schema, dtypes or {})
        return table.to_pandas()
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run the stage that writes it (`paleo plan` shows which)") from None
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        why = " ".join(str(error).split())[:160]
        raise InputError(f"{path} is not a parquet table ({why}); {stored_json.remedy(path)}") from None


def _check_types(schema: pa.Schema, dtypes: Mapping[str, str]) -> None:
    """ValueError for a column of another type; a column that is not there is for the caller to miss."""
    for name in dtypes.keys() & set(schema.names):
        found = schema.field(name).type
        if found not in TYPES[dtypes[name]]:
            raise ValueError(f"its column {name!r} is of type {found}, not {dtypes[name]}")


def _row_groups(path: Path) -> list[pq.RowGroupMetaData]:
    with pq.ParquetFile(path) as file:
        return [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
