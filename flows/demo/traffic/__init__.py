"""Logged days replayed as live traffic, and what an arm's answers are worth."""
