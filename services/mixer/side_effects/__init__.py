"""What happens after the answer, off its path."""
