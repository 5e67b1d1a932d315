"""A/B experiments: who is in which, with what settings, and since when."""
