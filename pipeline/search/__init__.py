"""A search: Optuna proposes settings to every contender, and validation chooses."""
