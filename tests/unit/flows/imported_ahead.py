"""What `test_apart.py` has a prepared process import."""
