"""Client events in, Kafka out."""
