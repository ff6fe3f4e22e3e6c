"""Serving: histories in, recommendations out, by numpy. No LLM, no text encoder, no torch, no store.

`Recommender.load` reads a bundle, which `eimf export` has written; `pipeline.serving.load_recommender` makes the same
class of a checkpoint in a store, with torch.
"""

from eimf.serving.recommend import Recommender

__all__ = ["Recommender"]
