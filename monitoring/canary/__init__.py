"""Evidence of a canary and the judge that decides on it."""
