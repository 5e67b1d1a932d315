"""What answers: the gateway, the mixer, the rankers, the intake of events."""
