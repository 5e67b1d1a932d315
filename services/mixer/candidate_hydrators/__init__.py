"""Components that add columns to candidates."""
