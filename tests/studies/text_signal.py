"""What text vectors tell about the next item beside popularity and co-occurrence, without a training.

    python tests/studies/text_signal.py STORE ...     stores with one dataset and its item vectors each

A conditional logit (`eimf.choice.logit`) scores every item of the catalogue for each validation event by log
popularity, by its co-occurrence with the history (mean, and of the last item), and by text cosines (mean over the
history, and of the last item) in one of several spaces. Everything is counted in training events. The weights are
fitted on one half of the users and judged on the other, both ways; a difference is paired over users. A very large
number of users is sampled.

Shapes: C cases, N items, F sources, S width.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from eimf import schema
from eimf.choice.logit import Block, fit_logit, ranks
from eimf.data.cooccurrence import count_cooccurrence
from eimf.data.histories import Histories
from eimf.esim.lexical import lexical_vectors
from eimf.semantics.item_text import whiten
from eimf.statistics import paired_difference
from eimf.store.artifact import Store
from eimf.vectors import normalize
from pipeline.stages.load import histories_of

_BLOCK, _SEED, _PENALTY = 64, 2026, 1e-6


class Cases:
    """Some validation events: `history` rows and `case` of each event before them, `last` row and `target` row."""

    def __init__(self, histories: Histories, most: int) -> None:
        cases, rng = histories.cases[schema.VALID], np.random.default_rng(_SEED)
        count = min(len(cases.user_idx), most)
        chosen = np.sort(rng.permutation(len(cases.user_idx))[:count])
        self.user_idx, end = cases.user_idx[chosen], cases.history_end[chosen]
        self.target = cases.item_idx[cases.offsets[chosen]] - 1
        self.case, event = histories.first_events(self.user_idx, end)
        self.row = histories.item_idx[event].astype(np.int64) - 1
        self.last = histories.item_idx[histories.offsets[self.user_idx] + end - 1].astype(np.int64) - 1
        self.half = rng.permutation(count) < count // 2

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over each history of the rows of `values` [N, .]."""
        sums = values.new_zeros(len(self.target), values.shape[1])
        sums.index_add_(0, torch.from_numpy(self.case), values[torch.from_numpy(self.row)])
        return sums / torch.from_numpy(np.bincount(self.case)).unsqueeze(1)


def standardized(scores: torch.Tensor) -> np.ndarray:
    return ((scores - scores.mean()) / scores.std()).float().numpy()


def of_texts(cases: Cases, vectors: torch.Tensor) -> list[np.ndarray]:
    """Cosines of every item with the mean of the history and with its last item, [C, N] each."""
    mean = torch.nn.functional.normalize(cases.mean(vectors), dim=1)
    return [standardized(query @ vectors.T) for query in (mean, vectors[torch.from_numpy(cases.last)])]


def of_behavior(cases: Cases, histories: Histories) -> list[np.ndarray]:
    """Log popularity, and co-occurrence with the history (mean, last), [C, N] each."""
    counted = count_cooccurrence(histories)
    row = np.repeat(np.arange(histories.num_items), np.diff(counted.offsets))
    dense = torch.zeros(histories.num_items, histories.num_items)
    dense[torch.from_numpy(row), torch.from_numpy(counted.neighbor_row.astype(np.int64))] = torch.from_numpy(
        counted.similarity
    )
    popularity = torch.from_numpy(np.log1p(histories.frequency())).float().expand(len(cases.target), -1)
    return [
        standardized(popularity),
        standardized(cases.mean(dense)),
        standardized(dense[torch.from_numpy(cases.last)]),
    ]


def judged(cases: Cases, sources: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihood and NDCG@10 of each case, by the weights that the other half of the users chose."""

    def blocks(chosen: np.ndarray) -> Iterator[Block]:
        number = np.full(len(cases.target), -1)
        for start in range(0, len(chosen), _BLOCK):
            part = chosen[start : start + _BLOCK]
            number[part] = np.arange(len(part))
            seen = np.flatnonzero(number[cases.case] >= 0)
            case, row = number[cases.case[seen]], cases.row[seen]
            number[part] = -1
            other = row != cases.target[part][case]
            yield Block(
                np.stack([scores[part] for scores in sources], axis=1), cases.target[part], case[other], row[other]
            )

    nats, ndcg = np.zeros(len(cases.target)), np.zeros(len(cases.target))
    for half in (True, False):
        fitted, other = np.flatnonzero(cases.half == half), np.flatnonzero(cases.half != half)
        weights = fit_logit(lambda rows=fitted: blocks(rows), np.ones(len(sources), bool), penalty=_PENALTY)
        parts = []
        for block in blocks(other):
            total = block.total(weights).astype(np.float64)
            top = total.max(axis=1)
            parts.append(
                total[np.arange(len(total)), block.chosen] - top - np.log(np.exp(total - top[:, None]).sum(axis=1))
            )
        nats[other] = np.concatenate(parts)
        rank = ranks(lambda rows=other: blocks(rows), weights)
        ndcg[other] = np.where(rank <= 10, 1 / np.log2(rank + 1), 0)
    return nats, ndcg


def principal(vectors: np.ndarray, components: int, power: float) -> np.ndarray:
    """The first principal components, each scaled by its variance to the `power`, as unit vectors: -1/2 whitens."""
    white = whiten(torch.from_numpy(np.asarray(vectors, np.float32)), components).numpy()
    centered = vectors - vectors.mean(axis=0)
    variance = np.square(np.linalg.lstsq(white, centered, rcond=None)[0]).sum(axis=1) / components
    return normalize(white * variance ** (power + 0.5))


def spaces_of(encoder: np.ndarray, texts: list[str]) -> dict[str, list[np.ndarray]]:
    """The unit vectors that are compared, by name; several stand beside each other."""
    lexical = lexical_vectors(texts, 128)
    parts = {
        "raw": (encoder, lexical),
        "centered": tuple(normalize(block - block.mean(axis=0)) for block in (encoder, lexical)),
        "half whitened": tuple(principal(block, 128, -0.25) for block in (encoder, lexical)),
        "whitened": tuple(principal(block, 128, -0.5) for block in (encoder, lexical)),
    }
    spaces = {name: [block] for name, (block, _) in parts.items()}
    spaces |= {f"lexical {name}": [block] for name, (_, block) in parts.items()}
    for name, blocks in parts.items():
        spaces[f"{name} + lexical, two sources"] = list(blocks)
        spaces[f"{name} + lexical, one vector"] = [normalize(np.concatenate(blocks, axis=1))]
    joint = np.concatenate(parts["raw"], axis=1)
    return {**spaces, "both, whitened together": [principal(joint, 128, -0.5)]}


def measure(store: Store, most: int, names: list[str] | None) -> None:
    """Print a line for each space, or for those of these names, the first of which the others are compared with."""
    artifacts = {kind: store.get(kind, key) for kind, key in store.listing() if kind in ("dataset", "item_vectors")}
    histories = histories_of(artifacts)
    texts = artifacts["dataset"].table("items")[schema.TEXT].to_pylist()
    encoder = np.array(schema.vectors_of(artifacts["item_vectors"].table("vectors")))
    cases = Cases(histories, most)
    behavior = of_behavior(cases, histories)
    base_nats, base_ndcg = judged(cases, behavior)
    print(f"{store.root}: {len(cases.target):,} users; popularity and co-occurrence: {base_ndcg.mean():.4f}")
    raw: tuple[np.ndarray, np.ndarray] | None = None
    spaces = spaces_of(encoder, texts)
    for name in names or spaces:
        sources = [scores for part in spaces[name] for scores in of_texts(cases, torch.from_numpy(part))]
        nats, ndcg = judged(cases, behavior + sources)
        raw = raw or (nats, ndcg)
        gain, rank_gain = (paired_difference(*pair) for pair in zip(raw, (nats, ndcg), strict=True))
        print(
            f"{name:<42} nats {(nats - base_nats).mean():+.4f}, than the first {gain.value:+.4f} (p {gain.p:.1g}); "
            f"NDCG@10 {ndcg.mean():.4f}, {rank_gain.value:+.4f} (p {rank_gain.p:.1g})",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="+", type=Path)
    parser.add_argument("--users", type=int, default=5000, help="most users of a dataset")
    parser.add_argument("--spaces", nargs="+", help="names of the spaces to judge; by default all")
    arguments = parser.parse_args()
    for folder in arguments.stores:
        measure(Store(folder), arguments.users, arguments.spaces)
