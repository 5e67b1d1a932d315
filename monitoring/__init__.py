"""How we know that it is still good: expectations on the data, drift, and the judge of canaries."""
