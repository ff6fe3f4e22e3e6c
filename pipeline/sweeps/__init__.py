"""Plans of many trainings, their results and tables."""
