"""Stage two: sequences, batches, the supervision read from an ESIM artifact, and the training loop."""
