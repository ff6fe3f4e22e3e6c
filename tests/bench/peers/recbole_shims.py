"""What RecBole 1.2.1 needs to be imported beside numpy 2 and without ray: for the benchmark and for tests/parity."""

import sys
import types

import numpy as np

_GONE = {
    "bool": bool,
    "int": int,
    "float": float,
    "object": object,
    "long": int,
    "unicode": str,
    "bool_": np.bool_,
    "float_": np.float64,
    "complex_": np.complex128,
    "unicode_": np.str_,
}


def make_importable() -> None:
    """Gives numpy the names back that RecBole asks for, and puts an empty ray beside it; neither is used here."""
    for name, value in _GONE.items():
        if name not in np.__dict__:
            setattr(np, name, value)
    ray = types.ModuleType("ray")
    ray.tune = types.ModuleType("ray.tune")
    sys.modules.update({"ray": ray, "ray.tune": ray.tune})
