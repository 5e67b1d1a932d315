"""Components that add what is known of the asking user."""
