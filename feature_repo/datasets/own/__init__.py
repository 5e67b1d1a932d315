"""Your own events: CSV, TSV, JSON lines or Parquet in your columns, read through a small declared mapping."""
