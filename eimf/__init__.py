"""EIMF: train a sequential recommender against interests that an LLM inferred offline (arXiv 2411.09410)."""
