"""Seeded hostile input.

Each module has `run_one(rng, folder) -> str`: it makes one input, and returns "ok" or the error that refused it.
Whatever else is raised is a fault of ours.
"""
