"""Hide the program that runs from the processes that it starts.

`multiprocessing` imports the main module in every process that it spawns. That would run a user's script again, unless
the script guards itself with `if __name__ == "__main__"`; our processes need nothing of it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def without_main_module() -> Iterator[None]:
    """Processes that are spawned meanwhile import no main module."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
