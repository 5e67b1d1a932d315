"""What `mixer bench` measures: each file one figure and its peer, in one run."""
