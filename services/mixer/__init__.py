"""The full mixer: products over a columnar candidate pipeline."""
