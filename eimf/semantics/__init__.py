"""What item texts and LLM interests do to a training: supervision, controls, heads, soft targets, signal check."""
