"""Serving: histories in, recommendations out. No LLM, no text encoder, no trainer, no store.

`pipeline.serving.load_recommender` loads a `Recommender` from a store.
"""

from eimf.serving.recommend import Recommender

__all__ = ["Recommender"]
