"""The backbones, one file each. They know tensors only: no text, no store, no configuration."""
