"""Releases: the ledger, the law of their states, approvals, and who takes over."""
