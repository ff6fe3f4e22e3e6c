"""Events for the benchmark: real folders prepared as EIMF prepares them, and generated ones of any size."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from eimf import schema
from eimf.config import CleaningSettings, DatasetSettings, SplitSettings, TextSettings
from eimf.data.histories import Histories
from eimf.data.prepare import prepare_files
from eimf.data.split import leave_one_out
from eimf.semantics.supervision import Supervision
from pipeline.stages.raw_files import resolve_files

TEXT_WIDTH, INTERESTS, USERS_A_CLUSTER = 384, 4, 25


def write_real(folder: Path, target: Path) -> None:
    """From a folder with interactions.parquet and items.parquet."""
    settings = DatasetSettings(name=folder.name, interactions="interactions.parquet", items="items.parquet")
    cleaning = CleaningSettings(bad_rows="reject")
    ready = prepare_files(resolve_files(settings, folder), settings, cleaning, SplitSettings(), TextSettings())
    users = np.arange(ready.users.num_rows)
    _write(np.repeat(users, np.diff(ready.offsets)), ready.item_idx, target)


def write_generated(items: int, users: int, mean_length: int, target: Path, seed: int = 2026) -> None:
    """Zipf-popular items in groups; a user stays in a group for a while, so that the past says something of the next.

    Histories are 3 long plus a geometric number. Every item occurs.
    """
    rng = np.random.default_rng(seed)
    lengths = 3 + rng.geometric(1 / (mean_length - 3), users)
    total = int(lengths.sum())
    groups = max(1, items // 200)
    start = np.repeat(np.cumsum(lengths) - lengths, lengths)
    moves = rng.random(total) < 0.15
    moves[np.unique(start)] = True
    group = rng.integers(0, groups, total)[np.maximum.accumulate(np.where(moves, np.arange(total), 0))]
    # Within a group, the share of the item of rank r is proportional to 1 / r.
    inside = np.floor(np.exp(rng.random(total) * np.log(items // groups))).astype(np.int64) - 1
    item = inside * groups + group
    item[rng.choice(total, min(items, total), replace=False)] = rng.permutation(items)[: min(items, total)]
    _, item = np.unique(item, return_inverse=True)
    user = np.repeat(np.arange(users), lengths)
    _write(user, item + 1, target)


def _write(user_idx: np.ndarray, item_idx: np.ndarray, target: Path) -> None:
    """All events, user by user in order, for every side of the benchmark: `common.read_events`."""
    columns = {schema.USER: user_idx.astype(np.int32), schema.ITEM: item_idx.astype(np.int32)}
    pq.write_table(pa.table(columns), target)


def read_histories(path: Path | str) -> Histories:
    """What `write_real` or `write_generated` wrote, split leave-one-out."""
    events = pq.read_table(path)
    user_idx, item_idx = (events[name].to_numpy() for name in (schema.USER, schema.ITEM))
    offsets = np.searchsorted(user_idx, np.arange(int(user_idx[-1]) + 2))
    split = leave_one_out(item_idx, offsets)
    return Histories(item_idx, offsets, split.num_train, int(item_idx.max()), cases=split.cases)


def random_supervision(histories: Histories) -> Supervision:
    """An ESIM artifact of the usual shape with random vectors: the speed does not depend on what they say."""
    generator = torch.Generator().manual_seed(0)

    def unit(*shape: int) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.randn(*shape, generator=generator), dim=-1)

    clusters = max(1, histories.num_users // USERS_A_CLUSTER)
    exists = torch.rand(clusters, INTERESTS, generator=generator) < 0.7
    exists[:, 0] = True
    interest_id = torch.where(exists, torch.arange(clusters * INTERESTS).view(clusters, INTERESTS), -1)
    return Supervision(
        unit(histories.num_items, TEXT_WIDTH),
        unit(clusters, INTERESTS, TEXT_WIDTH),
        interest_id,
        torch.randint(clusters, (histories.num_users,), generator=generator),
        torch.full((histories.num_users,), -1),
    )
