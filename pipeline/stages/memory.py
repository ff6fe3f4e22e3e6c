"""How much memory the arrays of stages 1 to 5 may take, and where the further ones are."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from eimf import schema
from eimf.config import RuntimeSettings
from eimf.scratch import Scratch, let_go
from eimf.store.artifact import Artifact, Staging

if TYPE_CHECKING:
    import numpy as np

_MEMORY = Path("/proc/meminfo")
_SHARE = 0.5
"""Of the memory that is available, which is for arrays if nothing else is set."""


def scratch_of(runtime: RuntimeSettings, staging: Staging) -> Scratch:
    """A place for the arrays of one stage, with its files next to the staging folder: a network file system gives a
    file without a name one again, which must not become a part of the artifact."""
    memory = runtime.memory_gb * 1e9 or _SHARE * available_memory()
    return Scratch(staging.folder.parent, int(memory))


def vectors_in(artifact: Artifact, scratch: Scratch) -> "np.ndarray":
    """The column of vectors [n, S] of an artifact's table `vectors`, float32, read batch by batch. Raises ArtifactError
    as `Artifact.table` does."""
    import numpy as np

    vectors, begin = np.zeros((0, 0), np.float32), 0
    for rows, batch in artifact.batches("vectors", [schema.VECTOR]):
        part = schema.vectors_of(batch)
        if begin == 0:
            vectors = scratch.empty((rows, part.shape[1]), np.float32)
        vectors[begin : begin + len(part)] = part
        begin += len(part)
        let_go(vectors)
    return vectors


def available_memory(description: Path = _MEMORY) -> int:
    """Bytes that processes can have without swapping, as the kernel estimates; all of the machine's if it does not."""
    if description.is_file():
        for line in description.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
