"""Closed-set next items: do the LLM's picks tell anything of the next event that the candidates do not tell?

    python -m tests.studies.picks --store artifacts
    python -m tests.studies.picks --store artifacts --numbers FILE.jsonl --source "frontier-size LLM"
    python -m tests.studies.picks --store artifacts --replies FILE.jsonl --source "phrases of a frontier-size LLM"

A conditional logit over the catalogue at every user's validation event: its weights are fitted on one half of the
users and judged on the other, both ways. With --replies, the picks are those candidates of the store's artifact whose
title is nearest to one of the `next` phrases of each line, by the encoder's cosine: a stand-in for an LLM that chooses.
`smallest` is the gain that a paired test at 5 % would have shown with a chance of 80 %.

Shapes: V cases, N items, F scores of an item, C clusters, n candidates.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from eimf import schema
from eimf.choice.item_statistics import item_scores
from eimf.choice.logit import Block, Blocks, fit_logit, ranks
from eimf.data.cooccurrence import count_cooccurrence
from eimf.data.histories import Histories
from eimf.data.windows import flat_ranges
from eimf.esim.candidates import cluster_candidates
from eimf.semantics.item_text import TEXT_COMPONENTS, whiten
from eimf.statistics import paired_difference
from eimf.store.artifact import Artifact, Store
from eimf.vectors import normalize
from pipeline.stages.load import histories_of
from tests.studies.label_data import encoded

CUTOFF, DRAWS, POWER = 10, 5, 1.96 + 0.84
_ITEMS = (1, 0, 2)
"""Columns of `item_scores`: popularity; recency and life cycle."""
_BLOCK = 128
Judged = tuple[np.ndarray, np.ndarray]
"""Log-likelihood and NDCG@10 of each case, [V] each."""


class Study:
    """The validation events, and the scores of all items before them: `base` [V, F, N]. Of `item_scores` those of the
    columns `items` count."""

    def __init__(self, histories: Histories, item_texts: np.ndarray, cluster: np.ndarray, items: Sequence[int]) -> None:
        cases = histories.cases[schema.VALID]
        self.user, self.target = cases.user_idx[cases.case], cases.item_idx - 1
        self.cluster, self.num_items = cluster[self.user], histories.num_items
        length = cases.history_end[cases.case]
        self.case, event = flat_ranges(histories.offsets[self.user], length)
        self.row = histories.item_idx[event] - 1
        last = histories.item_idx[histories.offsets[self.user] + length - 1] - 1
        similarity = self._cooccurrence(histories)
        texts = normalize(whiten(torch.tensor(item_texts), TEXT_COMPONENTS).numpy())
        share = np.zeros((len(self.user), self.num_items), np.float32)
        np.add.at(share, (self.case, self.row), 1 / length[self.case])
        of_items = np.broadcast_to(item_scores(histories).T[list(items)], (len(self.user), len(items), self.num_items))
        pairs = [share @ similarity, similarity[last], (share @ texts) @ texts.T, texts[last] @ texts.T]
        self.base = np.concatenate([of_items, np.stack(pairs, axis=1)], axis=1).astype(np.float32)
        self.base /= self.base[:256].std(axis=(0, 2), keepdims=True)
        self.fold = np.random.default_rng(0).permutation(len(self.user)) % 2
        free = np.ones(self.base.shape[1], bool)
        self.begin = [fit_logit(self._blocks(np.flatnonzero(self.fold != fold), ()), free) for fold in (0, 1)]

    def _cooccurrence(self, histories: Histories) -> np.ndarray:
        counts = count_cooccurrence(histories)
        dense = np.zeros((self.num_items, self.num_items), np.float32)
        dense[np.repeat(np.arange(self.num_items), np.diff(counts.offsets)), counts.neighbor_row] = counts.similarity
        return dense

    def judge(self, *tables: np.ndarray) -> Judged:
        """With the `tables` [C, N] as further scores, by the cluster of each case."""
        value, ndcg = np.zeros((2, len(self.user)))
        free = np.ones(self.base.shape[1] + len(tables), bool)
        for fold in (0, 1):
            others = self._blocks(np.flatnonzero(self.fold != fold), tables)
            weights = fit_logit(others, free, begin=np.append(self.begin[fold], np.zeros(len(tables))))
            cases = np.flatnonzero(self.fold == fold)
            blocks = self._blocks(cases, tables)
            value[cases] = np.concatenate([_log_likelihood(block, weights) for block in blocks()])
            rank = ranks(blocks, weights)
            ndcg[cases] = np.where(rank <= CUTOFF, 1 / np.log2(rank + 1), 0)
        return value, ndcg

    def _blocks(self, cases: np.ndarray, tables: tuple[np.ndarray, ...]) -> Blocks:
        def blocks():
            for start in range(0, len(cases), _BLOCK):
                part = cases[start : start + _BLOCK]
                further = [table[self.cluster[part]][:, None] for table in tables]
                place = np.full(len(self.user), -1)
                place[part] = np.arange(len(part))
                seen = (place[self.case] >= 0) & (self.row != self.target[self.case])
                scores = np.concatenate([self.base[part], *further], axis=1)
                yield Block(scores, self.target[part], place[self.case[seen]], self.row[seen])

        return blocks


def _log_likelihood(block: Block, weights: np.ndarray) -> np.ndarray:
    total = block.total(weights).astype(np.float64)
    chosen = total[np.arange(len(total)), block.chosen]
    return chosen - np.logaddexp.reduce(total, axis=1)


def table_of(cluster: np.ndarray, row: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """1 for the items of each cluster, [C, N]."""
    table = np.zeros(shape, np.float32)
    table[cluster, row] = 1
    return table


def drawn(cluster: np.ndarray, picked: np.ndarray, key: np.ndarray) -> np.ndarray:
    """As many picks of each cluster, those with the largest `key`."""
    order = np.lexsort((-key, cluster))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - np.searchsorted(cluster[order], cluster[order])
    return place < np.bincount(cluster, picked)[cluster]


@dataclass(frozen=True)
class Picks:
    """The cluster of each user; and each candidate's cluster, number, row and similarity, and whether it is picked."""

    of_user: np.ndarray
    cluster: np.ndarray
    number: np.ndarray
    row: np.ndarray
    similarity: np.ndarray
    picked: np.ndarray


def picks_of_store(esim: Artifact) -> Picks:
    table = esim.table("picks")
    cluster, number, item, similarity = (table[name].to_numpy() for name in schema.PICKS.names[:4])
    picked = table[schema.PICKED].to_numpy(zero_copy_only=False)
    return Picks(esim.table("users")[schema.CLUSTER].to_numpy(), cluster, number, item - 1, similarity, picked)


def with_numbers(found: Picks, path: Path) -> Picks:
    """The same candidates with the numbers that another LLM picked, `{"cluster": 0, "picks": [3, 7]}` a line."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    pairs = {(line["cluster"], number) for line in lines for number in line["picks"]}
    picked = [pair in pairs for pair in zip(found.cluster.tolist(), found.number.tolist(), strict=True)]
    return replace(found, picked=np.array(picked))


def picks_of_replies(path: Path, esim: Artifact, store: Store, cache: Path, settings: Mapping[str, int]) -> Picks:
    """Each user belongs to the user of the file whose mean text is nearest. Candidates are those of stage 7a for these
    clusters, and those are picked whose title is nearest to one of the `next` phrases."""
    dataset, items = store.parent(esim, "dataset"), store.parent(esim, "item_vectors")
    histories, texts = histories_of({"dataset": dataset}), schema.vectors_of(items.table("vectors"))
    row_of = {name: row for row, name in enumerate(dataset.table("users")[schema.USER_ID].to_pylist())}
    replies = [json.loads(line) for line in path.read_text().splitlines()]
    typical = np.array([row_of[reply["user_id"]] for reply in replies])
    users = schema.vectors_of(store.parent(store.parent(esim, "clusters"), "user_vectors").table("vectors"))
    of_user = (users @ users[typical].T).argmax(axis=1)
    of_user[typical] = np.arange(len(typical))
    titles = schema.display_names(dataset.table("items", [schema.TITLE, schema.METADATA]))
    usable = np.array([title is not None for title in titles])
    ranked = cluster_candidates(count_cooccurrence(histories), histories, of_user, typical, usable)
    offered = [
        best.first(settings["candidates"]).shuffled(settings["seed"], number) for number, best in enumerate(ranked)
    ]
    sizes = [len(one.item_idx) for one in offered]
    cluster, number = np.repeat(np.arange(len(sizes)), sizes), np.concatenate([np.arange(1, n + 1) for n in sizes])
    row = np.concatenate([one.item_idx for one in offered]) - 1
    phrases = [phrase for reply in replies for phrase in reply["next"]]
    cosines = encoded(phrases, dataset, items, cache) @ texts.T
    starts = np.cumsum([0, *(len(reply["next"]) for reply in replies)])[:-1]
    nearest = np.maximum.reduceat(cosines, starts)[cluster, row]
    picked = drawn(cluster, np.full(len(row), settings["picks"]) / np.bincount(cluster)[cluster], nearest)
    return Picks(of_user, cluster, number, row, np.concatenate([one.similarity for one in offered]), picked)


def describe(found: Picks) -> None:
    """How the picks compare with chance."""
    top = drawn(found.cluster, found.picked, found.similarity)
    print(f"offered {len(found.row)}, picked {found.picked.sum()}, by chance {found.picked.mean():.1%}")
    quarters = np.array_split(np.arange(1, found.number.max() + 1), 4)
    shares = [found.picked[np.isin(found.number, part)].mean() for part in quarters]
    print(f"picked by quarter of the list: {', '.join(f'{share:.1%}' for share in shares)}")
    print(f"of the picks, {top[found.picked].mean():.1%} are among as many best by co-occurrence")


def report(reference: Judged, rows: Mapping[str, Judged]) -> None:
    print(f"{'':<44} {'nats':>8} {'p':>8} {'smallest':>8} {'NDCG@10':>8} {'gain':>8} {'p':>8} {'smallest':>8}")
    for name, judged in rows.items():
        cells = []
        for before, after, shows_level in zip(reference, judged, (False, True), strict=True):
            gain = paired_difference(before, after)
            cells += [f"{after.mean():8.4f}"] * shows_level + [
                f"{gain.value:+8.4f}",
                f"{gain.p:8.2g}",
                f"{POWER * gain.error:8.4f}",
            ]
        print(f"{name:<44} {' '.join(cells)}")


def mean_of(parts: list[Judged]) -> Judged:
    return tuple(np.mean([part[number] for part in parts], axis=0) for number in (0, 1))


def run(options: argparse.Namespace) -> None:
    store = Store(options.store)
    every = [store.get(kind, key) for kind, key in store.listing() if kind == "esim"]
    esim = max((one for one in every if "picks" in one.manifest.parents), key=lambda one: one.manifest.created)
    settings = store.parent(esim, "picks").manifest.configuration["picks"]
    found = picks_of_store(esim)
    if options.numbers:
        found = with_numbers(found, options.numbers)
    if options.replies:
        found = picks_of_replies(options.replies, esim, store, options.cache, settings)
    cluster, row, similarity, picked = found.cluster, found.row, found.similarity, found.picked
    print(f"{options.source}, esim {esim.short}")
    describe(found)
    histories = histories_of({"dataset": store.parent(esim, "dataset")})
    vectors = schema.vectors_of(store.parent(esim, "item_vectors").table("vectors"))
    study = Study(histories, vectors, found.of_user, _ITEMS if options.drift else _ITEMS[:1])
    shape = int(found.of_user.max()) + 1, histories.num_items
    rng = np.random.default_rng(0)
    keys = [rng.random(len(row)) for _ in range(DRAWS)]
    offered = table_of(cluster, row, shape)
    picks = table_of(cluster[picked], row[picked], shape)
    subsets = [drawn(cluster, picked, key) for key in keys]
    random = [table_of(cluster[chosen], row[chosen], shape) for chosen in subsets]
    top = drawn(cluster, picked, similarity)
    others = [picks[rng.permutation(len(picks))] for _ in range(DRAWS)]
    hits = {name: part[study.cluster, study.target].mean() for name, part in (("offered", offered), ("picked", picks))}
    print(f"targets offered {hits['offered']:.2%}, picked {hits['picked']:.2%},", end=" ")
    print(f"drawn {np.mean([part[study.cluster, study.target].mean() for part in random]):.2%}")
    base, with_offered = study.judge(), study.judge(offered)
    print(f"beside popularity, {'recency, life cycle, ' * options.drift}co-occurrence and titles")
    rows = {"nothing": base, "offered": with_offered, "picks": study.judge(picks)}
    rows["as many drawn from the offered, mean of 5"] = mean_of([study.judge(part) for part in random])
    rows["as many best by co-occurrence"] = study.judge(table_of(cluster[top], row[top], shape))
    rows["picks of another cluster, mean of 5"] = mean_of([study.judge(part) for part in others])
    report(base, rows)
    print("beside these and whether an item is offered")
    rows = {"picks": study.judge(offered, picks)}
    rows["as many drawn from the offered, mean of 5"] = mean_of([study.judge(offered, part) for part in random])
    report(with_offered, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--replies", type=Path, help="another LLM's phrases instead of the picks")
    parser.add_argument("--numbers", type=Path, help="another LLM's picks of the candidates that the store has")
    parser.add_argument("--drift", action=argparse.BooleanOptionalAction, default=True, help="with recency, life cycle")
    parser.add_argument("--source", default="the LLM of the store", help="whose picks, for the title")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/eimf/studies")
    run(parser.parse_args())
