"""Full-ranking evaluation of a trained backbone."""
