"""Number types of settings and of a backbone's own options. Each has a smallest and a largest value: beyond them torch,
polars or vLLM would end in a traceback, or use up the machine's memory."""

from typing import Annotated

from pydantic import Field

Seed = Annotated[int, Field(ge=0, lt=2**31)]
"""Of a random stream."""
Share = Annotated[float, Field(ge=0.0, le=0.99)]
"""A share that is never all, such as dropout."""
Weight = Annotated[float, Field(ge=0.0, le=1e6)]
"""Weight of one term of a sum; 0 leaves it out."""
Scale = Annotated[float, Field(ge=1e-3, le=1e3)]
"""A factor or divisor, such as a temperature."""
SmallCount = Annotated[int, Field(ge=1, le=256)]
"""Attention heads, interests, routing rounds: tens at most."""
Layers = Annotated[int, Field(ge=1, le=64)]
"""Stacked layers of a network."""
Size = Annotated[int, Field(ge=1, le=65_536)]
"""A length, a width, or a number of requests or rows at a time."""
LargeCount = Annotated[int, Field(ge=1, le=16_777_216)]
"""Positions of a step, clusters of users: limited by memory."""
Epochs = Annotated[int, Field(ge=1, le=100_000)]
"""Passes over the data, rounds of an iteration."""
