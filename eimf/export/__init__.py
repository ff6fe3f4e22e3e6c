"""Export: from a trained backbone and what stage one found to what a bundle holds. Runs once, before serving."""
