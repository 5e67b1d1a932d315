"""Drift: the decision, computed here as pure functions of two frames, and the Evidently report that a person reads."""
