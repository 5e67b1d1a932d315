"""Bulk writes into Feast's online store: the bytes that Feast itself would store, without its cost per row and value."""
