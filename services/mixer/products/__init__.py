"""What a client can ask for, as lists of components."""
