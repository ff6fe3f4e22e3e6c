"""What else decides the next item beside a trained model: sources of scores, their weights, and a model with both."""
