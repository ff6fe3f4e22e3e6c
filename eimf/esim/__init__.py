"""ESIM, stage one: text vectors, user clusters, typical users, LLM interests, and the sealed hand-over to stage two."""
