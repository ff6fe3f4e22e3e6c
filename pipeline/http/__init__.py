"""The HTTP service: `eimf serve bundle/`."""
