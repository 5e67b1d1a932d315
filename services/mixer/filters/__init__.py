"""Rules that remove candidates, one file a rule."""
