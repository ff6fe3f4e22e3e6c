"""Reports: tables of numbers, and their renderers."""
