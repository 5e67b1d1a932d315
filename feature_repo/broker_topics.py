"""The broker's topics."""

from __future__ import annotations

EVENTS_TOPIC = "events"  # what people did; see feature_repo/aggregates/event_messages.py
SERVED_TOPIC = "served"  # what people got; see feature_repo/served_messages.py
DEAD_LETTERS_TOPIC = "dead_letters"  # what clients sent and intake refused, for people
