"""Reports: first the numbers, then their form."""
