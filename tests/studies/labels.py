"""Labels and reasons on test users: do they agree with the texts of what is recommended?

    python tests/studies/labels.py --store artifacts --checkpoint KEY                       the interests of the store
    python tests/studies/labels.py ... --replies users.jsonl --source "a frontier-size LLM"  those of another LLM
    python tests/studies/labels.py ... --show 10          the first recommendations of ten users, with their reasons

For every user the ten best items after the whole history but the test item. A row of the table is a way to name them:

- by what the LLM names as evidence, by a map of the phrases' texts (`eimf.export.labels`), by the mixture that export
  chooses: always the label nearest to the item, unchecked;
- the interest's: the label nearest to the interest that brought the item, unchecked;
- the map of alignment: affine, fitted by the alignment's own contrastive loss on the trained vectors;
- served: with thresholds, as a bundle gives them.

AUC: how often the label's text is nearer to the item's text than the label of another recommendation, drawn from all
given labels; a tie counts half. `text` by the encoder that export uses too, `words` by an independent judge: cosine of
shared words, rare ones first. `because`: how often the item of the history that the reason names is nearer in text than
another one of the history.

Shapes: U users, L labels, N items, n recommendations, D width, S text width.
"""

import re
import sys

import numpy as np
import torch
from torch.nn import functional as F

from eimf import schema
from eimf.export.agreement import NEVER
from eimf.export.labels import BuiltLabels, build_labels, is_grounded, map_of_texts, place
from eimf.export.phrases import Phrases, merge
from eimf.serving.index import ExactIndex, Exclude
from eimf.serving.labels import Labels
from eimf.serving.reasons import reasons
from eimf.vectors import unit
from tests.studies.label_data import Trained, load_phrases, parser_of

COUNT = 10


class Judge:
    """AUC of pairs of a label and an item, by two kinds of texts."""

    def __init__(self, label_texts: np.ndarray, names: list[str], text_vectors: np.ndarray, texts: list[str]) -> None:
        self.spaces = {"text": (label_texts, text_vectors), "words": by_words(names, texts)}

    def auc(self, label: np.ndarray, item: np.ndarray, draws: int = 5) -> list[float]:
        """Of the pairs that have a label, by text and by words; `label` and `item` [n] are rows."""
        label, item = label[label >= 0], item[label >= 0]
        if not len(label):
            return [float("nan")] * len(self.spaces)
        others = [np.random.default_rng(seed).permutation(label) for seed in range(draws)]
        results = []
        for of_label, of_item in self.spaces.values():
            own = (of_label[label] * of_item[item]).sum(axis=1)
            drawn = [(of_label[other] * of_item[item]).sum(axis=1) for other in others]
            results.append(float(np.mean([(own > value) + (own == value) / 2 for value in drawn])))
        return results


def by_words(names: list[str], texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of names [L, W] and texts [N, W] by their words, without plural, each by the logarithm of its
    rarity in the texts."""
    split = [
        [{word.rstrip("s") for word in re.findall(r"[a-z]{3,}", line.lower())} for line in part]
        for part in (names, texts)
    ]
    column = {word: number for number, word in enumerate(sorted(set().union(*split[0], *split[1])))}
    counts = [np.zeros((len(part), len(column)), np.float32) for part in split]
    for part, matrix in zip(split, counts, strict=True):
        for row, words in enumerate(part):
            matrix[row, [column[word] for word in words]] = 1
    rarity = np.log(len(texts) / (1 + counts[1].sum(axis=0))).clip(min=0)
    return unit(counts[0] * rarity), unit(counts[1] * rarity)


def aligned(texts: np.ndarray, items: np.ndarray, queries: np.ndarray, steps: int = 1500) -> np.ndarray:
    """The images of `queries` [L, S] under an affine map that is fitted from `texts` [N, S] to `items` [N, D] by the
    loss of alignment (.4 contrast + .1 distance, temperature .1, 128 items at a time)."""
    torch.manual_seed(0)
    source, target = torch.from_numpy(texts), F.normalize(torch.tensor(items), dim=1)
    model = torch.nn.Sequential(
        torch.nn.Linear(texts.shape[1], items.shape[1]), torch.nn.Linear(items.shape[1], items.shape[1])
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(steps):
        rows = torch.randint(len(source), (128,))
        image = F.normalize(model(source[rows]), dim=1)
        cosine = target[rows] @ image.T
        loss = 0.4 * F.cross_entropy(cosine / 0.1, torch.arange(128)) + 0.1 * (1 - cosine.diagonal().mean())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return unit(model(torch.from_numpy(queries)).numpy())


class Study:
    """One model with one LLM's phrases."""

    def __init__(self, trained: Trained, phrases: Phrases, users: int) -> None:
        self.trained, self.phrases = trained, phrases
        self.items = unit(trained.table[1:])
        self.user = trained.some_users(users)
        self.interests = trained.interests(self.user, schema.TEST)
        self.histories = trained.histories_before(self.user, schema.TEST)
        query = np.repeat(np.arange(len(self.user)), list(map(len, self.histories)))
        exclude = None if trained.keep_seen else Exclude(query, np.concatenate(self.histories))
        self.found = ExactIndex(trained.table).search(self.interests, COUNT, exclude=exclude, allow=None)
        self.item = self.found.item_idx.ravel() - 1

    def rows(self) -> list[tuple[str, np.ndarray, Judge]]:
        """A name, the label of each recommendation, and the judge, for each way to name; then the served ones."""
        phrases, text = self.phrases, self.trained.text_vectors
        grounded = phrases.take(np.flatnonzero(is_grounded(phrases, text)))
        groups, rows = merge(grounded), []
        built = self.built()
        if groups:
            texts = np.stack([grounded.vectors[members[0]] for members in groups])
            judge = self.judge(texts, [grounded.texts[members[0]] for members in groups])
            mixed = place(grounded, groups, texts, text, self.items, built.figures["level"])[1]
            places = {
                "evidence": unit(
                    np.stack(
                        [
                            self.items[np.concatenate([grounded.evidence[row] for row in members]) - 1].mean(axis=0)
                            for members in groups
                        ]
                    )
                ),
                "map of texts": unit(map_of_texts(text, self.items, texts)),
                "map of alignment": aligned(text, self.items, texts),
                f"mixture, {built.figures['evidence_share']:g} evidence": mixed,
            }
            for name, vectors in places.items():
                rows.append((f"item: {name}", (self.items @ vectors.T).argmax(axis=1)[self.item], judge))
            nearest = (unit(self.interests) @ mixed.T).argmax(axis=2)
            rows.append(("interest: mixture", np.take_along_axis(nearest, self.found.interest, 1).ravel(), judge))
        rows.append(("served", *self.served(built)))
        return rows

    def built(self) -> BuiltLabels:
        sample = self.trained.interests(self.trained.some_users(1000), None)
        return build_labels(self.phrases, self.trained.text_vectors, self.trained.table[1:], sample)

    def served(self, built: BuiltLabels) -> tuple[np.ndarray, Judge]:
        """The labels that a bundle gives, and their judge."""
        number = {name: label for label, name in enumerate(built.names)}
        reasons = self.reasons(built)
        label = np.array([number.get(reason.label, -1) for of_user in reasons for reason in of_user])
        row_of = {int(interest): row for row, interest in enumerate(self.phrases.interest_ids)}
        lead = {self.phrases.texts[row]: row for row in range(len(self.phrases))}
        rows = [lead.get(name, row_of[ids[0]]) for name, ids in zip(built.names, built.interest_ids, strict=True)]
        return label, self.judge(self.phrases.vectors[rows], built.names)

    def reasons(self, built: BuiltLabels) -> list:
        labels = Labels(
            built.names,
            built.vectors,
            built.item_labels,
            threshold=built.thresholds["interest"],
            item_threshold=built.thresholds["item"],
        )
        return [
            reasons(
                self.found.item_idx[row],
                self.found.interest[row],
                history=history,
                interests=self.interests[row],
                item_table=self.trained.table,
                item_ids=self.trained.item_ids,
                labels=labels,
            )
            for row, history in enumerate(self.histories)
        ]

    def judge(self, label_texts: np.ndarray, names: list[str]) -> Judge:
        return Judge(label_texts, names, self.trained.text_vectors, self.trained.texts)

    def because(self) -> dict[str, float]:
        """How often the item of the history that speaks most for a recommendation is nearer in text than another."""
        text, results = self.trained.text_vectors, {}
        ways = ("recommended item", "interest", "both", "last item")
        for way in ways:
            shares = []
            for row, history in enumerate(self.histories):
                events = np.unique(history[::-1]) - 1 if way != "last item" else history[::-1] - 1
                if len(set(history.tolist())) < 2:
                    continue
                item = self.items[self.found.item_idx[row] - 1]
                interest = unit(self.interests[row])[self.found.interest[row]]
                query = {"recommended item": item, "interest": interest, "both": item + interest}.get(way)
                best = np.zeros(COUNT, int) if query is None else (query @ self.items[events].T).argmax(axis=1)
                cosine = text[self.found.item_idx[row] - 1] @ text[events].T
                own = cosine[np.arange(COUNT), best][:, None]
                count = cosine.shape[1] - 1
                shares.append((((own > cosine).sum(1) + ((own == cosine).sum(1) - 1) / 2) / count).mean())
            results[way] = float(np.mean(shares))
        return results

    def show(self, count: int) -> None:
        """Print users drawn by chance, with the end of their history and their best items."""
        told, titles = self.reasons(self.built()), self.trained.titles
        for row in range(count):
            history = [titles[item - 1] for item in self.histories[row][-5:]]
            print(
                f"\nuser {row + 1}, of {len(self.histories[row])} events the last: " + " | ".join(map(short, history))
            )
            for item, reason in list(zip(self.found.item_idx[row], told[row], strict=True))[:4]:
                because = titles[self.trained.item_ids.index(reason.because)]
                name = f"[{reason.label}]" if reason.label else "[-]"
                print(f"   {name} {short(titles[item - 1])} <- because of {short(because)}, interest {reason.interest}")


def short(title: str | None, length: int = 60) -> str:
    return "(no title)" if title is None else title if len(title) <= length else title[: length - 3] + "..."


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--users", type=int, default=2000, help="drawn by chance")
    parser.add_argument("--show", type=int, default=0)
    options = parser.parse_args()
    trained, phrases = load_phrases(options)
    study = Study(trained, phrases, options.users)
    if options.show:
        study.show(options.show)
        return
    built = study.built()
    figures, limits = built.figures, built.thresholds
    trust = {name: "never" if value == NEVER else f"from {value:.3f}" for name, value in limits.items()}
    print(
        f"\n{trained.name}, interests of {options.source}: {figures['phrases']:.0f} phrases, {figures['grounded']:.0f} "
        f"grounded, {len(built)} labels; an item has one {trust['item']}, an interest {trust['interest']}\n"
    )
    print("| label of | share | AUC text | AUC words | labels in use |\n|---|--:|--:|--:|--:|")
    for name, label, judge in study.rows():
        text, words = judge.auc(label, study.item)
        in_use = len(np.unique(label[label >= 0]))
        print(f"| {name} | {(label >= 0).mean():.3f} | {text:.3f} | {words:.3f} | {in_use} |")
        sys.stdout.flush()
    print(
        "\nAUC of because, by the cosine with: "
        + ", ".join(f"{way} {value:.3f}" for way, value in study.because().items())
    )


if __name__ == "__main__":
    main()
