"""Number types of settings, of a backbone's own options too. Each has a largest value as well as a smallest: beyond it
nothing sensible happens, and torch, polars or vLLM end in a traceback, or the machine's memory does."""

from typing import Annotated

from pydantic import Field

Seed = Annotated[int, Field(ge=0, lt=2**31)]
"""Of a random stream."""
Share = Annotated[float, Field(ge=0.0, le=0.99)]
"""A part of a whole that never is all of it: dropout, say."""
Weight = Annotated[float, Field(ge=0.0, le=1e6)]
"""What a part of a sum counts; 0: not at all."""
Scale = Annotated[float, Field(ge=1e-3, le=1e3)]
"""What something is multiplied with or divided by, a temperature, say."""
Few = Annotated[int, Field(ge=1, le=256)]
"""Attention heads, interests, rounds: what is in tens at most."""
Layers = Annotated[int, Field(ge=1, le=64)]
"""Parts of a network one above the other."""
Size = Annotated[int, Field(ge=1, le=65_536)]
"""Numbers side by side: a length, a width, requests or rows at a time."""
Many = Annotated[int, Field(ge=1, le=16_777_216)]
"""Positions of a step, clusters of users: what is limited by the memory."""
Epochs = Annotated[int, Field(ge=1, le=100_000)]
"""Passes over the data, rounds of an iteration."""
