"""Layers that several backbones share. Each has a plain implementation and a fast one, side by side: `plain`."""
