"""Where it runs: settings, storage paths, the local supervisor and its processes."""
