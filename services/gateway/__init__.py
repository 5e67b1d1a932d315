"""The one door: sticky split, arms, ledger, approvals, control room."""
