"""Parquet tables whose bytes depend on nothing but the rows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import InputError
from pipeline.io.files.atomic_write import write_bytes


def write(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame atomically; the same rows give the same bytes."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_bytes(path, sink.getvalue().to_pybytes())


def read(path: Path) -> pd.DataFrame:
    """Read a table; InputError when it is missing or no parquet file."""
    try:
        return pq.read_table(path).to_pandas()
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run the stage that writes it (`paleo plan` shows which)") from None
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is not a parquet table ({error}); delete it and run its stage again") from None
