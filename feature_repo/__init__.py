"""What we know: contracts, datasets, the lake, and features on Feast."""
