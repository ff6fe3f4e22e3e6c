"""Named interests for people without a history: what a menu of names is worth.

    python tests/studies/menu.py --store artifacts --checkpoint KEY
    python tests/studies/menu.py --store artifacts --checkpoint KEY --replies FILE.jsonl --source "frontier-size LLM"

Every user's test event is predicted from the last n events before it (or, with --first, the first n of the history).
The person picks, out of a menu, the names nearest in text to the training events that the model does not see; never is
the target looked at. Weights are fitted on validation events. Every item is ranked but those that the model saw, equal
scores in the order of their numbers, as they are served. The vectors of names come from other people than the one who
picks. `shuffled`: the same picks, each name served with the vector of another one of the menu.

--replies takes lines {"user_id", "interests": [{"interest", "items"}]}, `items` being numbers from 1 of the titles that
the prompt shows; without it the names are the interests of the store.

Shapes: C cases, N items, D width, L labels.
"""

import argparse
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.random import default_rng

from eimf import schema
from eimf.esim.prompt import prompt_history
from eimf.export.cold_start import BuiltColdStart, Texts, build_cold_start, picked_names, texts_of
from eimf.export.cold_start_design import Model
from eimf.export.labels import build_labels
from eimf.export.phrases import Phrases, read_phrases
from eimf.export.simulated import HALF, Cases, cut_cases, mean_texts, pick_names
from eimf.export.tower import TorchTower
from eimf.export.user_means import FOLDS
from eimf.metrics import paired_difference
from eimf.serving.cold_start import ColdStart
from eimf.store.artifact import Artifact, Store
from eimf.vectors import normalize
from pipeline.serving import load_backbone
from pipeline.stages.load import histories_of

CUTOFF = 10
MAX_TITLES, TITLE_CHARS = 15, 90


def encode(texts: list[str], folder: Path) -> np.ndarray:
    """Unit vectors by the encoder in `folder`: the mean over tokens."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(texts), 64):
            tokens = tokenizer(
                texts[start : start + 64], padding=True, truncation=True, max_length=256, return_tensors="pt"
            )
            mask = tokens["attention_mask"].unsqueeze(2).float()
            parts.append((model(**tokens).last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1))
    return normalize(torch.cat(parts).numpy())


@dataclass(frozen=True)
class Data:
    """A checkpoint with its data, and the phrases that may become names."""

    model: Model
    item_texts: np.ndarray
    phrases: Phrases


def load(store: Store, key: str, replies: Path | None, encoder: Path | None) -> Data:
    """Raises ArtifactError if the store lacks something."""
    checkpoint = store.get("checkpoint", key)
    dataset = store.parent(checkpoint, "dataset")
    histories = histories_of({"dataset": dataset})
    trained, backbone = load_backbone(checkpoint, histories.num_items)
    table = backbone.item_table.weight.detach().numpy()
    model = Model(TorchTower(backbone), table, histories, trained.model.max_length, trained.keep_seen)
    texts = _of_dataset(store, "item_vectors", dataset)
    item_texts = schema.vectors_of(texts.table("vectors"))
    if replies is None:
        esim = _of_dataset(store, "esim", dataset)
        tables = (
            store.parent(esim, "interests").table("interests"),
            store.parent(esim, "interest_vectors").table("vectors"),
        )
        return Data(model, item_texts, read_phrases(*tables))
    assert encoder is not None
    line = dataset.table("items")[schema.TEXT].to_pylist()[0]
    assert np.abs(encode([line], encoder) - item_texts[:1]).max() < 1e-3, "another encoder than that of the store"
    return Data(model, item_texts, _phrases_of(replies, dataset, model, encoder))


def _of_dataset(store: Store, kind: str, dataset: Artifact) -> Artifact:
    found = [store.get(kind, key) for listed, key in store.listing() if listed == kind]
    return next(artifact for artifact in found if artifact.manifest.parents.get("dataset") == dataset.key)


def _phrases_of(replies: Path, dataset: Artifact, model: Model, encoder: Path) -> Phrases:
    """The interests of `replies`, with the items that they name."""
    histories, titles = model.histories, dataset.table("items")[schema.TITLE].to_pylist()
    user_of = {user_id: user for user, user_id in enumerate(dataset.table("users")[schema.USER_ID].to_pylist())}
    texts, evidence = [], []
    for reply in map(json.loads, replies.read_text().splitlines()):
        user = user_of[reply["user_id"]]
        begin = histories.offsets[user]
        shown = prompt_history(
            histories.item_idx[begin : begin + histories.num_train[user]], titles, MAX_TITLES, TITLE_CHARS
        )
        assert shown is not None
        for entry in reply["interests"]:
            texts.append(entry["interest"])
            evidence.append([shown.item_idx[number - 1] for number in entry["items"] if number <= len(shown.item_idx)])
    return Phrases(np.arange(len(texts)), texts, evidence, encode(texts, encoder))


@dataclass(frozen=True)
class Judge:
    """Ranks the targets of `cases`."""

    model: Model
    cases: Cases

    @cached_property
    def interests(self) -> np.ndarray | None:
        return self.model.interests(self.cases.begin, self.cases.length) if self.cases.length.any() else None

    def seen(self, case: int) -> np.ndarray:
        begin, length = self.cases.begin[case], self.cases.length[case]
        return self.model.histories.item_idx[begin : begin + length]

    def ranks(self, score) -> np.ndarray:
        """The rank of each target, [C]; `score` gives the scores [N] of a case."""
        result = np.zeros(len(self.cases), np.int64)
        for case, target in enumerate(self.cases.target - 1):
            scores = np.array(score(case), np.float64)
            if not self.model.keep_seen:
                scores[np.setdiff1d(self.seen(case) - 1, target)] = -np.inf
            first = scores > scores[target]
            first[:target] |= scores[:target] == scores[target]
            result[case] = 1 + first.sum()
        return result


def recall(ranks: np.ndarray) -> np.ndarray:
    return (ranks <= CUTOFF).astype(np.float64)


def ndcg(ranks: np.ndarray) -> np.ndarray:
    return np.where(ranks <= CUTOFF, 1 / np.log2(ranks + 1), 0.0)


class Study:
    """Every way to answer a person, judged on test events."""

    def __init__(self, data: Data, built: BuiltColdStart, texts: Texts, seed: int) -> None:
        self.model, self.built, self.texts, self.seed = data.model, built, texts, seed
        folds = picked_names(data.model, texts).fold_tables()
        average = built.user_means[:1]
        self.tables = [np.concatenate([average, table]).astype(np.float32) for table in folds]

    def baselines(self, judge: Judge) -> dict[str, np.ndarray]:
        """Ranks by name of what needs no names."""
        items, vectors = self.built.item_scores, self.model.item_vectors[1:]
        all_events = vectors.T @ np.exp(items[:, 1])
        result = {
            "all-time popularity": judge.ranks(lambda case: items[:, 1]),
            "recent popularity": judge.ranks(lambda case: items[:, 0]),
        }
        interests = judge.interests
        if interests is None:
            served = ColdStart(self.built.weights, items, self.built.user_means, self.model.item_vectors)
            return result | {
                "average vector": judge.ranks(lambda case: vectors @ all_events),
                "fitted, without names": judge.ranks(lambda case: served.scores([], None, 0)),
            }
        return result | {
            "average vector": judge.ranks(
                lambda case: vectors @ self.model.item_vectors[judge.seen(case)].mean(axis=0)
            ),
            "history alone": judge.ranks(lambda case: (vectors @ interests[case].T).max(axis=1)),
        }

    def named(self, judge: Judge, length: int, count: int, *, shuffled: bool = False, own: bool = False) -> np.ndarray:
        """Ranks with `count` names out of a menu of `length`; `own`: as in the bundle, with the person's own vector in
        those of the names."""
        cases, menu = judge.cases, np.array(self.texts.menu[:length])
        people = mean_texts(cases.hidden_item_idx, cases.hidden_case, len(cases), self.texts.items)
        picks = pick_names(people, self.texts.labels, menu, count)
        other = np.arange(len(self.texts.labels))
        if shuffled:
            other[menu] = derangement(menu, self.seed)
        tables = [self.built.user_means] * FOLDS if own else self.tables
        served = [ColdStart(self.built.weights, self.built.item_scores, t, self.model.item_vectors) for t in tables]

        def score(case: int) -> np.ndarray:
            labels = other[picks[case][picks[case] >= 0]]
            interests = None if judge.interests is None else judge.interests[case]
            return served[cases.user_idx[case] % FOLDS].scores(labels, interests, int(cases.length[case]))

        return judge.ranks(score)


def derangement(menu: np.ndarray, seed: int) -> np.ndarray:
    """Another label of the menu for each of it, by chance."""
    order = default_rng(seed).permutation(len(menu))
    other = np.empty(len(menu), np.int64)
    other[order] = menu[np.roll(order, 1)]
    return other


def report(name: str, ranks: np.ndarray, bases: dict[str, np.ndarray]) -> None:
    """One row of the table, with its paired differences in Recall@10 from each of `bases`."""
    row = f"| {name} | {recall(ranks).mean():.4f} | {ndcg(ranks).mean():.4f} |"
    for base in bases.values():
        mean, _, p = paired_difference(torch.from_numpy(recall(base)), torch.from_numpy(recall(ranks)))
        row += f" {mean:+.4f} (p {p:.1g}) |" if base is not ranks else " |"
    print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--replies", type=Path, help="replies of another LLM than the store's")
    parser.add_argument("--source", default="the store's LLM", help="whose names these are, for the heading")
    parser.add_argument("--encoder", type=Path, help="folder of the encoder, for --replies")
    parser.add_argument("--first", action="store_true", help="show the first events instead of the last ones")
    parser.add_argument("--events", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--seed", type=int, default=1, help="of the shuffling")
    options = parser.parse_args()
    data = load(Store(options.store), options.checkpoint, options.replies, options.encoder)
    built_labels = build_labels(data.phrases, data.item_texts, data.model.item_vectors[1:])
    texts = texts_of(data.model.histories, data.item_texts, data.phrases, built_labels.interest_ids)
    built = build_cold_start(data.model, texts)
    print(f"Names of {options.source}: {len(built_labels)} labels, {len(texts.menu)} in the menu. The first 20:")
    print("; ".join(built_labels.names[label] for label in texts.menu[:20]))
    print(built.weights.model_dump_json())
    print(json.dumps(built.figures))
    study = Study(data, built, texts, options.seed)
    for shown in options.events:
        table(study, Judge(data.model, cut_cases(data.model.histories, schema.TEST, shown, first=options.first)), shown)


def table(study: Study, judge: Judge, shown: int) -> None:
    """Print the table for people with `shown` events."""
    ranks = study.baselines(judge)
    base = "history alone" if judge.interests is not None else "recent popularity"
    bases = {base: ranks[base]}
    ranks["20 names, 2 picks"] = study.named(judge, 20, 2)
    bases["20 names, 2 picks"] = ranks["20 names, 2 picks"]
    ranks["20 names, 2 picks, shuffled"] = study.named(judge, 20, 2, shuffled=True)
    ranks["20 names, 2 picks, own vector in the names"] = study.named(judge, 20, 2, own=True)
    ranks["20 names, 1 pick"] = study.named(judge, 20, 1)
    ranks["20 names, 3 picks"] = study.named(judge, 20, 3)
    for length in (50, 100):
        if len(study.texts.menu) >= length:
            ranks[f"{length} names, 2 picks"] = study.named(judge, length, 2)
            ranks[f"{length} names, 2 picks, shuffled"] = study.named(judge, length, 2, shuffled=True)
    events = "half of the history" if shown == HALF else f"{shown} events"
    print(f"\n| {events}, {len(judge.cases)} users | Recall@10 | NDCG@10 | minus {' | minus '.join(bases)} |")
    print("|---|--:|--:|" + "--:|" * len(bases))
    for name, values in ranks.items():
        report(name, values, bases)


if __name__ == "__main__":
    main()
