"""Great Expectations over the four contract tables: what must hold, what was set aside, and the page that shows it."""
