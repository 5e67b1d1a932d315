"""What was served, computed a second time from the lake by the batch engine, vector beside vector."""
