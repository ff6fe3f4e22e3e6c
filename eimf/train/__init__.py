"""Stage two: batches, the objective, and the training loop."""
