"""Serving: histories in, recommendations out. No LLM, no text encoder."""

from eimf.serving.recommend import Recommender

__all__ = ["Recommender"]
