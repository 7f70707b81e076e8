"""Results and other files on disk: atomic writes, parquet tables, DVC versions."""
