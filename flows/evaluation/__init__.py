"""Judging models on exposures that they were not trained on."""
