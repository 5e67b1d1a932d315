"""Feature quality: null share, range, drift and importance of every feature of the catalogue, and the page that shows them."""
