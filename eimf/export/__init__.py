"""Export: a trained backbone as a bundle that `eimf.serving` reads."""
