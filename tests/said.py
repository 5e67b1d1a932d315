"""What a test tells its reader, pass or fail."""

SAID_AT_THE_END = "said at the end"  # `record_property` with this name: the suite's last lines show the value
