"""What was served, joined with what people did next: the evidence that releases are judged by."""
