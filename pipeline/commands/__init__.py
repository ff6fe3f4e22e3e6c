"""The commands of `eimf` that are more than one call."""
