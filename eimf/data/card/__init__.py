"""The data card: what a dataset is like, in figures."""
