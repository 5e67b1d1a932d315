"""The aggregate catalogue and its two engines, batch and stream."""
