"""Whether stage 1 and pandas have prepared the same events in the same order, and the same users and items.

python -m tests.bench.dataset_same ARTIFACT PANDAS     two folders; exits with 1 if they differ
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def differences(artifact: Path, peer: Path) -> list[str]:
    """What differs: item_idx of all events, num_events and num_train of users, ids of users and items."""
    users, items = (pq.read_table(artifact / f"{name}.parquet") for name in ("users", "items"))
    peer_users, peer_items = (pq.read_table(peer / f"{name}.parquet") for name in ("users", "items"))
    events = pq.read_table(peer / "events.parquet", columns=["user_idx", "item_idx", "split"])
    user, training = events["user_idx"].to_numpy(), events["split"].to_numpy() == 0
    pairs = {
        "item_idx": (np.load(artifact / "item_idx.npy", mmap_mode="r"), events["item_idx"].to_numpy()),
        "num_events": (users["num_events"].to_numpy(), np.bincount(user)),
        "num_train": (users["num_train"].to_numpy(), np.bincount(user[training], minlength=len(users))),
        "user_id": (users["user_id"], peer_users["user_id"]),
        "item_id": (items["item_id"], peer_items["item_id"]),
    }
    return [name for name, (ours, theirs) in pairs.items() if not _same(ours, theirs)]


def _same(ours: np.ndarray | pa.ChunkedArray, theirs: np.ndarray | pa.ChunkedArray) -> bool:
    if isinstance(ours, np.ndarray):
        return np.array_equal(ours, theirs)
    return ours.cast(pa.large_string()).equals(theirs.cast(pa.large_string()))


def main() -> None:
    different = differences(*map(Path, sys.argv[1:]))
    if different:
        raise SystemExit(f"not the same: {', '.join(different)}")
    sys.stdout.write("{}\n")


if __name__ == "__main__":
    main()
