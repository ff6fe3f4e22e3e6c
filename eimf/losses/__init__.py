"""Losses over tensors."""
