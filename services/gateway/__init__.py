"""The one door: sticky split, arms, failover, control room."""
