"""`mixer`: one file a command group."""
