"""Datasets as of a time, losses, the training loop, offline evaluation, the registry."""
