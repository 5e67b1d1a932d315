"""Adapters from datasets to the contract tables."""
