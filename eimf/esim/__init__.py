"""Stage one, ESIM: text vectors, user clusters, typical users, LLM interests, and the artifact that stage two reads."""
