"""Orchestration: the command line, recipes, stages, runs. The only code that knows the store, paths, time and the
terminal."""
