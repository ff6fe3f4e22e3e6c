"""A study that is made up: two datasets, three variants with ranks that are known in advance, hostile names."""

from collections.abc import Callable

import numpy as np

from eimf.store.artifact import Store
from pipeline.report.html.runs import Ranks, Run, Study

AS_WRITTEN = "text.clean_html=false"
HOSTILE = "<script>window.ran = 1</script>"
USERS = 200


def run(variant: str, seed: int, rank: np.ndarray, dataset: str = "shop", **summary: float) -> Run:
    """A training whose test targets have these ranks, one for each case."""
    hits = rank <= 10
    measured = {"ndcg@10": float((hits / np.log2(rank + 1)).mean()), "recall@10": float(hits.mean()), **summary}
    return Run(dataset, "sasrec", variant, seed, measured, read_of(rank))


def read_of(rank: np.ndarray) -> Callable[[], Ranks]:
    return lambda: Ranks(rank, np.arange(len(rank)))


def ranks(seed: int, better: float = 0.0) -> np.ndarray:
    """Ranks from 1 to 40 of USERS cases; a share `better` of them is 1."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(1, 41, USERS)
    drawn[: round(better * USERS)] = 1
    return drawn


def study(*more: Run, left_out: tuple[str, ...] = ()) -> Study:
    """`good` is better than `plain` in every seed, `same` is no other training, and `hostile` has a name to escape."""
    runs = [
        of
        for seed in (1, 2, 3)
        for of in (
            run("plain", seed, ranks(seed)),
            run("good", seed, ranks(seed, better=0.5)),
            run("same", seed, ranks(seed)),
            run(HOSTILE, seed, ranks(seed + 10)),
        )
    ]
    pairs = (("good", "plain"), ("same", "plain"), (HOSTILE, "plain"), ("good", "same"))
    settings = {name: (f"heads.preset={name}", "train.epochs=1") for name in ("plain", "good", "same", HOSTILE)}
    return Study("A study", "made up", (*runs, *more), pairs, None, {}, settings, left_out)


def keys_of(store: Store, kind: str) -> list[str]:
    """Of the artifacts of a kind."""
    return [key for found, key in store.listing() if found == kind]
