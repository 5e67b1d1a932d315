"""Components that choose and order the page."""
