"""A training run on arrays: epochs, state on disk, processes."""
