"""Consistency of served features: how far what was served is from what the batch engine gives, and the page that says so."""
