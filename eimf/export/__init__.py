"""Export: from a trained backbone and what stage one found to a bundle that `eimf.serving` reads. Runs once, before
serving."""
