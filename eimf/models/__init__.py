"""Backbones and the EIMF heads. They know tensors only: no text, no store, no configuration."""
