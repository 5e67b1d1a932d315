"""The ranking models and their runtime."""
