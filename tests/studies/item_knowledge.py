"""What item knowledge tells about the next item, beside popularity, co-occurrence and the titles; no training.

    python -m tests.studies.item_knowledge STORE            every item_vectors artifact of STORE with knowledge
        [--checkpoint STORE KEY]    with the score of a trained model of the same dataset as one more source

A conditional logit over the catalogue without the user's history: the validation item of every user against all others.
The weights are fitted on one half of the users and judged on the other, and the other way round, so every user is
judged once. All cosines are of whitened vectors (128 components, rows of length 1); each source enters as its mean over
the history and as its value for the last item, scaled to variance 1.

- shuffled: every item with knowledge has that of another such item.
- joint: title and knowledge, whitened together, as one vector in place of the title's (of 128 and of 256 components).
- rare: cosines of items with at most 100 training events only, 0 for the others, so that a text may count more for
  them; knowledge then competes with titles that may, too.

nats: gain in log-likelihood per user over the row that is named, with its standard error; p is paired over users.
`visible` is the smallest gain that the test would have seen four times out of five: 2.8 standard errors.

Shapes: C cases, c cases of a block, N items, F sources.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from eimf import schema
from eimf.choice.logit import Block, fit_logit, ranks
from eimf.data.cooccurrence import count_cooccurrence
from eimf.data.histories import Histories
from eimf.esim.item_knowledge import shuffled
from eimf.semantics.item_text import whiten
from eimf.statistics import paired_difference
from eimf.store.artifact import Artifact, Store
from pipeline.stages.load import histories_of
from tests.studies.label_data import load

COMPONENTS, BLOCK, CUTOFF, RARE = 128, 64, 10, 100
_POWER = 2.8
SLICES = {"all": (0, np.inf), "0-20": (0, 20), "21-100": (21, 100), ">100": (101, np.inf)}
"""Training events of the target, inclusive."""
BASE = ("popularity", "cooccurrence")
MODELS = {  # by row: its sources, and the row that it is compared with
    "popularity + co-occurrence": (BASE, None),
    "+ title": ((*BASE, "title"), "popularity + co-occurrence"),
    "+ title + knowledge": ((*BASE, "title", "knowledge"), "+ title"),
    "+ title + knowledge, shuffled": ((*BASE, "title", "shuffled"), "+ title"),
    "+ title + rare title": ((*BASE, "title", "rare title"), "+ title"),
    "+ title + rare title + rare knowledge": ((*BASE, "title", "rare title", "rare knowledge"), "+ title + rare title"),
    "+ title + rare title + rare shuffled": ((*BASE, "title", "rare title", "rare shuffled"), "+ title + rare title"),
    "+ joint 128": ((*BASE, "joint 128"), "+ title"),
    "+ joint 256": ((*BASE, "joint 256"), "+ title"),
    "+ joint 128, shuffled": ((*BASE, "joint shuffled"), "+ title"),
}
COMPARED = (
    ("+ title + knowledge", "+ title + knowledge, shuffled"),
    ("+ title + rare title + rare knowledge", "+ title + rare title + rare shuffled"),
    ("+ joint 128", "+ title + knowledge"),
    ("+ joint 256", "+ title + knowledge"),
)
"""Further pairs of rows."""


@dataclass(frozen=True)
class Cases:
    """The validation case of each user: the history flat, `item_row` from 0 of case `case`; the last item and the
    target of each case, [C]."""

    item_row: np.ndarray
    case: np.ndarray
    last: np.ndarray
    target: np.ndarray
    user: np.ndarray

    @classmethod
    def of(cls, histories: Histories) -> "Cases":
        cases = histories.cases[schema.VALID]
        one = np.flatnonzero(np.bincount(cases.case) == 1)  # leave-one-out: all of them
        user, target = cases.user_idx[one], cases.item_idx[np.isin(cases.case, one)]
        case, event = histories.first_events(user, cases.history_end[one])
        item_row = histories.item_idx[event] - 1
        ends = np.searchsorted(case, np.arange(len(one)), side="right") - 1
        return cls(item_row, case, item_row[ends], target - 1, user)


class Study:
    """All sources, item by item or by item, and the cases to judge them by."""

    def __init__(self, histories: Histories, vectors: dict[str, np.ndarray], model: np.ndarray | None = None) -> None:
        """`vectors` are unit rows by source; `model` [C, N] is the score of a trained model."""
        self.cases, self.frequency = Cases.of(histories), histories.frequency()
        self.num_cases, num_items = len(self.cases.target), histories.num_items
        self.single = {"popularity": _scaled(np.log1p(self.frequency).astype(np.float32))[None]}
        if model is not None:
            self.single["model"] = (model - model.mean(axis=1, keepdims=True)) / model.std()
        similar = {name: rows @ rows.T for name, rows in vectors.items()}
        for name in ("title", "knowledge", "shuffled"):
            similar[f"rare {name}"] = similar[name] * (self.frequency <= RARE)
        similar["cooccurrence"] = cooccurrence_matrix(histories)
        history = np.zeros((self.num_cases, num_items), np.float32)  # the share of each item
        np.add.at(history, (self.cases.case, self.cases.item_row), 1)
        history /= history.sum(axis=1, keepdims=True)
        self.means = {name: history @ matrix for name, matrix in similar.items()}
        self.similar = similar
        self.scale = {
            name: (1 / max(float(self.means[name].std()), 1e-9), 1 / max(float(matrix.std()), 1e-9))
            for name, matrix in similar.items()
        }

    def blocks(self, sources: tuple[str, ...], cases: np.ndarray) -> Iterator[Block]:
        """The scores [c, F, N] of these sources for some cases."""
        for start in range(0, len(cases), BLOCK):
            part = cases[start : start + BLOCK]
            scores = []
            for name in sources:
                if name in self.single:
                    table = self.single[name]
                    scores.append(table[part] if len(table) > 1 else np.tile(table, (len(part), 1)))
                else:
                    mean, last = self.scale[name]
                    scores.append(self.means[name][part] * mean)
                    scores.append(self.similar[name][self.cases.last[part]] * last)
            begin, end = np.searchsorted(self.cases.case, [part, part + 1])
            excluded_case = np.repeat(np.arange(len(part)), end - begin)
            excluded_row = np.concatenate([self.cases.item_row[a:b] for a, b in zip(begin, end, strict=True)])
            new = excluded_row != self.cases.target[part][excluded_case]  # a repeated target stays possible
            yield Block(np.stack(scores, axis=1), self.cases.target[part], excluded_case[new], excluded_row[new])

    def judge(self, sources: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The log-likelihood and the NDCG@10 of each case, [C] each, and the weights of both halves, [2, F]."""
        count, fitted = self.num_cases, []
        logs, gains = np.zeros(count), np.zeros(count)
        half = np.random.default_rng(0).permutation(count) % 2
        num_scores = sum(1 if name in self.single else 2 for name in sources)
        for side in (0, 1):
            fit, judged = np.flatnonzero(half == side), np.flatnonzero(half != side)
            weights = fit_logit(partial(self.blocks, sources, fit), np.ones(num_scores, bool), penalty=1e-5)
            judging = partial(self.blocks, sources, judged)
            logs[judged] = np.concatenate([_log_likelihood(block, weights) for block in judging()])
            rank = ranks(judging, weights)
            gains[judged] = np.where(rank <= CUTOFF, 1 / np.log2(rank + 1), 0.0)
            fitted.append(weights)
        return logs, gains, np.stack(fitted)


def _log_likelihood(block: Block, weights: np.ndarray) -> np.ndarray:
    """Log-probability of each case's target, [c]."""
    total = block.total(weights)
    highest = total.max(axis=1)
    rest = np.log(np.exp(total - highest[:, None]).sum(axis=1))
    return total[np.arange(len(total)), block.chosen] - highest - rest


def cooccurrence_matrix(histories: Histories) -> np.ndarray:
    """Similarities by co-occurrence in training, [N, N]."""
    pairs = count_cooccurrence(histories)
    matrix = np.zeros((pairs.num_items,) * 2, np.float32)
    matrix[np.repeat(np.arange(pairs.num_items), np.diff(pairs.offsets)), pairs.neighbor_row] = pairs.similarity
    return matrix


def _scaled(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / max(float(values.std()), 1e-9)


def unit(vectors: np.ndarray, components: int = COMPONENTS) -> np.ndarray:
    """Whitened, rows of length 1. Rows of 0 (no knowledge) stay 0, and do not enter the whitening."""
    known = np.flatnonzero(np.abs(vectors).sum(axis=1) > 0)
    result = np.zeros((len(vectors), components), np.float32)
    result[known] = F.normalize(whiten(torch.tensor(vectors[known]), components), dim=1).numpy()
    return result


def sources_of(item_vectors: Artifact) -> dict[str, np.ndarray]:
    """Unit vectors [N, .] by source."""
    table = item_vectors.table("vectors")
    title, knowledge = schema.vectors_of(table), schema.vectors_of(table, schema.KNOWLEDGE)
    known = np.abs(knowledge).sum(axis=1) > 0
    order = shuffled([str(row) if has else None for row, has in enumerate(known)])
    other = np.stack([knowledge[row if text is None else int(text)] for row, text in enumerate(order)])
    return {
        "title": unit(title),
        "knowledge": unit(knowledge),
        "shuffled": unit(other),
        "joint 128": unit(np.concatenate([title, knowledge], axis=1)),
        "joint 256": unit(np.concatenate([title, knowledge], axis=1), 2 * COMPONENTS),
        "joint shuffled": unit(np.concatenate([title, other], axis=1)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--checkpoint", nargs=2, metavar=("STORE", "KEY"))
    options = parser.parse_args()
    store = Store(options.store)
    trained = load(Store(Path(options.checkpoint[0])), options.checkpoint[1]) if options.checkpoint else None
    for kind, key in store.listing():
        if kind != "item_vectors" or "item_knowledge" not in (artifact := store.get(kind, key)).manifest.parents:
            continue
        knowledge, dataset = store.parent(artifact, "item_knowledge"), store.parent(artifact, "dataset")
        if knowledge.manifest.configuration["control"] != "none":
            continue
        if trained is not None and trained.dataset.key != dataset.key:
            continue
        histories = histories_of({"dataset": dataset})
        model = None
        if trained is not None:
            interests = trained.interests(Cases.of(histories).user, schema.VALID)  # [C, K, D]
            model = np.stack([(one @ trained.table[1:].T).max(axis=0) for one in interests])
        print(f"\nitem_vectors {artifact.short}, item_knowledge {knowledge.short}: {knowledge.manifest.summary}")
        print_table(Study(histories, sources_of(artifact), model))


def print_table(study: Study) -> None:
    """One row per set of sources and slice, compared with another row."""
    events = study.frequency[study.cases.target]
    first = ("model",) if "model" in study.single else ()
    results = {}
    print(
        f"{'sources' + ' (beside the model)' * bool(first):<46} target    users    nats  +-se     p        visible"
        "   NDCG@10    gain    p        visible"
    )
    for name, (sources, other) in MODELS.items():
        results[name] = study.judge((*first, *sources))
        for label, (low, high) in SLICES.items():
            chosen = (events >= low) & (events <= high)
            if chosen.sum() > 1:
                print(f"{name:<46} {label:<7} {_line(results[name], results.get(other), chosen)}")
    for name, (_, _, weights) in results.items():
        print(f"weights of {name}: {np.round(weights.mean(axis=0), 3).tolist()}")
    for one, other in COMPARED:
        for label, (low, high) in SLICES.items():
            chosen = (events >= low) & (events <= high)
            if chosen.sum() > 1:
                print(f"{one} over {other}: {label:<7} {_line(results[one], results[other], chosen)}")


def _line(result: tuple, other: tuple | None, chosen: np.ndarray) -> str:
    logs, gains, _ = result
    if other is None:
        return f"{chosen.sum():>6} {logs[chosen].mean():>+8.4f} {'':>27} {gains[chosen].mean():>9.4f}"
    cells = []
    for mine, theirs in ((logs, other[0]), (gains, other[1])):
        cells.append(paired_difference(theirs[chosen], mine[chosen]))
    of_nats, of_ndcg = cells
    ndcg = gains[chosen].mean()
    nats = f"{of_nats.value:>+8.4f} {of_nats.error:.4f} {of_nats.p:8.1e} {_POWER * of_nats.error:.4f}"
    return (
        f"{chosen.sum():>6} {nats}   {ndcg:>9.4f} {of_ndcg.value:>+8.4f} {of_ndcg.p:8.1e} {_POWER * of_ndcg.error:.4f}"
    )


if __name__ == "__main__":
    main()
