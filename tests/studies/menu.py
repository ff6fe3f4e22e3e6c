"""Named interests for people without a history: what a menu of names is worth.

    python -m tests.studies.menu --store artifacts --checkpoint KEY
    python -m tests.studies.menu --store artifacts --checkpoint KEY --replies FILE.jsonl --source "frontier-size LLM"

Every user's test event is predicted from the last n events before it (with --first, from the first n of the history).
The person picks, out of a menu, the names nearest in text to the training events that the model does not see; the
target is never looked at. Weights are fitted on validation events. Every item is ranked but those that the model saw;
equal scores rank by item number, as they are served. The vectors of names come from other people than the one who picks
(`own vector`: from all, as in a bundle). `shuffled`: the same picks, each name served as another one of the menu, mean
over five shuffles.

Shapes: C cases, N items, D width, L labels.
"""

import json

import numpy as np

from eimf import schema
from eimf.choice.logit import ranks
from eimf.export.cold_start import Texts, build_cold_start, picked_names, texts_of
from eimf.export.cold_start_design import NAMES, PARTS, Design, Model
from eimf.export.labels import build_labels
from eimf.export.simulated import HALF, cut_cases, mean_texts, pick_names
from eimf.export.user_means import FOLDS
from eimf.serving.cold_start import MANY, ColdStartWeights
from eimf.statistics import paired_difference
from tests.studies.label_data import load_phrases, parser_of

CUTOFF, SHUFFLES = 10, 5
Figures = tuple[np.ndarray, np.ndarray]
"""Recall@10 and NDCG@10 of each case, [C] each."""


def figures(rank: np.ndarray) -> Figures:
    hit = rank <= CUTOFF
    return hit.astype(np.float64), np.where(hit, 1 / np.log2(rank + 1), 0.0)


def as_array(weights: ColdStartWeights) -> np.ndarray:
    return np.array(list(weights.model_dump().values()))


class Study:
    """People of whom the model sees `shown` events, and every way to answer them."""

    def __init__(self, model: Model, texts: Texts, shown: int, *, first: bool = False) -> None:
        self.model, self.texts, self.shown = model, texts, shown
        self.built = build_cold_start(model, texts)
        picked = picked_names(model, texts)
        self.all, self.folds = picked.table()[1:], picked.fold_tables()
        self.show(shown, first=first)

    def show(self, shown: int, *, first: bool) -> None:
        """From now on, people have `shown` events."""
        self.shown, self.cases = shown, cut_cases(self.model.histories, schema.TEST, shown, first=first)
        cases = self.cases
        self.people = mean_texts(cases.hidden_item_idx, cases.hidden_case, len(cases), self.texts.items)
        nothing = np.zeros((len(cases), self.all.shape[1]), np.float32)
        average = self.built.user_means[0]
        self.design = Design(self.model, self.built.item_scores, average, cases, nothing)

    def with_weights(self, weights: np.ndarray, vectors: np.ndarray | None = None) -> np.ndarray:
        """Ranks of the targets, [C], with `vectors` [C, D] in place of the names."""
        if vectors is not None:
            self.design.names = vectors
        return ranks(self.design.blocks(np.arange(len(self.cases))), weights)

    def baselines(self) -> dict[str, Figures]:
        part, table, items = np.eye(PARTS), self.model.item_vectors, self.model.histories.item_idx
        if self.design.has_history:
            seen = self.cases.begin[:, None] + np.arange(self.cases.length.max())
            shown = np.arange(seen.shape[1]) < self.cases.length[:, None]
            mean = (table[items[np.where(shown, seen, 0)]] * shown[:, :, None]).sum(axis=1) / self.cases.length[:, None]
            other = {"history alone": part[-1]}
        else:
            mean = np.tile(table[self.model.histories.training().item_idx].mean(axis=0), (len(self.cases), 1))
            other = {"fitted, without names": as_array(self.built.weights.unnamed)}
        rows = {"all-time popularity": part[1], "recent popularity": part[0]}
        result = {name: figures(self.with_weights(weights)) for name, weights in rows.items()}
        result["average vector"] = figures(self.with_weights(part[NAMES], mean))
        return result | {name: figures(self.with_weights(weights)) for name, weights in other.items()}

    def named(
        self, length: int, count: int, *, seed: int | None = None, own: bool = False, only: bool = False
    ) -> np.ndarray:
        """Ranks with `count` names out of a menu of `length`, shuffled by `seed`; `own`: with the vectors of a bundle;
        `only`: by the names alone, without recency or history."""
        menu = np.array(self.texts.menu[:length], np.int64)
        picks = pick_names(self.people, self.texts.labels, menu, count)
        served = np.arange(len(self.texts.labels))
        if seed is not None:
            order = np.random.default_rng(seed).permutation(menu)
            served[order] = np.roll(order, 1)  # never the name itself
        tables = np.stack([self.all] * FOLDS if own else self.folds)
        fold = self.cases.user_idx % FOLDS
        vectors = tables[fold[:, None], served[picks]].mean(axis=1)
        events = MANY if self.shown == HALF else min(self.shown, MANY)
        weights = np.eye(PARTS)[NAMES] if only else as_array(self.built.weights.named[events])
        result = self.with_weights(weights, vectors)
        if self.design.has_history and (none := picks[:, 0] < 0).any():
            result[none] = self.with_weights(np.eye(PARTS)[-1])[none]  # who finds nothing has the history alone
        return result

    def shuffled(self, length: int, count: int, *, only: bool = False) -> Figures:
        every = [figures(self.named(length, count, seed=seed, only=only)) for seed in range(SHUFFLES)]
        recall, ndcg = (np.mean(part, axis=0) for part in zip(*every, strict=True))
        return recall, ndcg

    def rows(self) -> dict[str, Figures]:
        result, lengths = self.baselines(), [n for n in (20, 50, 100) if n <= len(self.texts.menu)]
        for length in lengths:
            result[f"{length} names, 2 picks"] = figures(self.named(length, 2))
            result[f"{length} names, 2 picks, shuffled"] = self.shuffled(length, 2)
        for length in lengths[:1]:
            result |= {f"{length} names, {count} picked": figures(self.named(length, count)) for count in (1, 3)}
            result[f"{length} names, 2 picks, own vector"] = figures(self.named(length, 2, own=True))
            if not self.shown:
                result[f"{length} names, 2 picks, names only"] = figures(self.named(length, 2, only=True))
                result[f"{length} names, 2 picks, names only, shuffled"] = self.shuffled(length, 2, only=True)
        return result


def print_table(study: Study) -> None:
    """One row for each way to answer, with paired differences in Recall@10."""
    rows = study.rows()
    base = "history alone" if study.design.has_history else "recent popularity"
    bases = [name for name in (base, "20 names, 2 picks") if name in rows]
    shown = "half of the history" if study.shown == HALF else f"{study.shown} events"
    print(f"\n| {shown}, {len(study.cases)} users | Recall@10 | NDCG@10 | minus {' | minus '.join(bases)} |")
    print("|---|--:|--:|" + "--:|" * len(bases))
    for name, (recall, ndcg) in rows.items():
        cells = [f"{recall.mean():.4f}", f"{ndcg.mean():.4f}"]
        for other in bases:
            paired = paired_difference(rows[other][0], recall)
            cells.append("" if name == other else f"{paired.value:+.4f} (p {paired.p:.1g})")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--first", action="store_true", help="show the first events instead of the last ones")
    parser.add_argument("--events", type=int, nargs="+", default=[0, 1, 2, 3], help="-1: half of the history")
    options = parser.parse_args()
    trained, phrases = load_phrases(options)
    labels = build_labels(phrases, trained.text_vectors, trained.table[1:])
    texts = texts_of(trained.histories, trained.text_vectors, phrases, labels.interest_ids)
    model = Model(trained.tower, trained.table, trained.histories, trained.max_length, trained.keep_seen)
    study = Study(model, texts, 0)
    print(f"{trained.name}, names of {options.source}: {len(labels)} labels, {len(texts.menu)} in the menu.")
    print("; ".join(labels.names[label] for label in texts.menu[:20]))
    print(study.built.weights.model_dump_json(), json.dumps(study.built.figures), sep="\n")
    for shown in options.events:
        study.show(shown, first=options.first)
        print_table(study)


if __name__ == "__main__":
    main()
