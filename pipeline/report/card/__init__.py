"""The data card for people: in a terminal, and as a page."""
