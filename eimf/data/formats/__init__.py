"""Formats of raw data, a file each; `registry` has all of them."""
