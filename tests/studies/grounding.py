"""Do the interests of an ESIM artifact fit the items that they name, and do they differ from user to user?

    python tests/studies/grounding.py --store artifacts --esim KEY [--esim KEY ...]
        [--replies FILE --data-of KEY]     a file of other replies about the same typical users, as a row of its own
        [--users 20]                       also print the first typical users

A line of `--replies` is `{"user_id": ..., "interests": [{"interest": ..., "items": [numbers of the titles]}]}`.

- common: the share of the most frequent interest.
- grounding, shuffled: mean cosine of an interest's vector and the mean vector of its items, centred at the mean of the
  catalogue, and that with the items of another user's interest. AUC: how often the first is larger; raw: AUC without
  centring.
- near: the share of interests nearer to their items than 95 % of the shuffled pairs are.
- named: the share of interests of which every item has a word (or the decade) in its title or text.
"""

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from eimf import schema
from eimf.esim.encode import encode_texts
from eimf.esim.grounding import another_user, cosines, evidence_vectors
from eimf.store.artifact import Artifact, Store
from pipeline.recipe import load_recipe
from pipeline.stages.stage_one import engines_of

SEED = 2026
COLUMNS = [
    "requests",
    "interests",
    "distinct",
    "common",
    "grounding",
    "shuffled",
    "AUC",
    "raw",
    "near",
    "named",
    "tokens",
    "seconds",
    "copied",
]
_WORD = re.compile(r"[^\W_]+")
_WORDLESS = {"movies", "films", "products", "and", "of", "the", "for", "with", "a", "in", "on", "items", "other"}


@dataclass(frozen=True)
class Named:
    """Interests [M] with their users, evidence (item_idx) and vectors [M, S]."""

    user_idx: np.ndarray
    interests: list[str]
    evidence: list[list[int]]
    vectors: np.ndarray


def main() -> None:
    options = _options()
    store = Store(options.store)
    print("| what |", " | ".join(COLUMNS), "|\n|---|" + "--:|" * len(COLUMNS))
    esims = [store.get("esim", key) for key in options.esim]
    named = [_of_esim(store, esim) for esim in esims]
    for esim, interests in zip(esims, named, strict=True):
        _print_row(esim.short, {**measures(interests, *_items(store, esim)), **_cost(store, esim)})
    if options.replies:
        replies = _of_replies(store, esims[0], options.replies)
        _print_row(options.replies.name, measures(replies, *_items(store, esims[0])))
        named.append(replies)
    _print_users(store, esims[0], named, options.users)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--esim", action="append", required=True, help="of one dataset; may be repeated")
    parser.add_argument("--replies", type=Path)
    parser.add_argument("--users", type=int, default=0)
    return parser.parse_args()


def measures(named: Named, items: np.ndarray, words: list[set[str]]) -> dict[str, float]:
    """The figures of interests against the item vectors [N, S] and the words of items 1..N."""
    known = [number for number, evidence in enumerate(named.evidence) if evidence]
    user_idx, vectors = named.user_idx[known], named.vectors[known]
    evidence = [named.evidence[number] for number in known]
    means, other = evidence_vectors(items, evidence), another_user(user_idx, SEED)
    centre, origin = items.mean(axis=0), np.zeros(items.shape[1], np.float32)
    own, shuffled = cosines(vectors, means, centre), cosines(vectors, means[other], centre)
    raw = _auc(cosines(vectors, means, origin), cosines(vectors, means[other], origin))
    counts = np.unique([interest.casefold() for interest in named.interests], return_counts=True)[1]
    mentioned = [_mentioned(named.interests[number], named.evidence[number], words) for number in known]
    return {
        "requests": len(set(named.user_idx.tolist())),
        "interests": len(named.interests),
        "distinct": len(counts),
        "common": counts.max() / len(named.interests),
        "grounding": float(own.mean()),
        "shuffled": float(shuffled.mean()),
        "AUC": _auc(own, shuffled),
        "raw": raw,
        "near": float((own > np.quantile(shuffled, 0.95)).sum()) / len(named.interests),
        "named": sum(mentioned) / len(named.interests),
    }


def _auc(own: np.ndarray, shuffled: np.ndarray) -> float:
    ordered = np.sort(shuffled)
    below, upto = np.searchsorted(ordered, own, "left"), np.searchsorted(ordered, own, "right")
    return float((below + upto).mean() / 2 / len(ordered))


def _words(text: str) -> set[str]:
    words = {word.casefold() for word in _WORD.findall(text)}
    decades = {f"{word[:3]}0s" for word in words if re.fullmatch(r"(19|20)\d\d", word)}
    return {word.rstrip("s") for word in words - _WORDLESS if len(word) > 1} | decades


def _mentioned(interest: str, evidence: list[int], words: list[set[str]]) -> bool:
    wanted = _words(interest) | set(re.findall(r"\d{4}s", interest))
    return all(wanted & words[item - 1] for item in evidence)


def _items(store: Store, esim: Artifact) -> tuple[np.ndarray, list[set[str]]]:
    items = store.parent(esim, "dataset").table("items")
    both = zip(items[schema.TITLE].to_pylist(), items[schema.TEXT].to_pylist(), strict=True)
    vectors = schema.vectors_of(store.parent(esim, "item_vectors").table("vectors"))
    return vectors, [_words(f"{title} {text}") for title, text in both]


def _of_esim(store: Store, esim: Artifact) -> Named:
    interests = store.parent(esim, "interests").table("interests")
    vectors = schema.vectors_of(store.parent(esim, "interest_vectors").table("vectors"))
    texts, evidence = (interests[name].to_pylist() for name in (schema.INTEREST, schema.EVIDENCE))
    return Named(interests[schema.USER].to_numpy(), texts, evidence, vectors)


def _of_replies(store: Store, esim: Artifact, path: Path) -> Named:
    """Of the users of the file who are typical users of this artifact; the numbers are those of its prompts."""
    users = store.parent(esim, "dataset").table("users")
    user_idx = dict(zip(users[schema.USER_ID].to_pylist(), users[schema.USER].to_pylist(), strict=True))
    requests = store.parent(esim, "requests").table("requests")
    history = dict(zip(requests[schema.USER].to_pylist(), requests[schema.HISTORY].to_pylist(), strict=True))
    rows = [
        (
            user,
            entry["interest"],
            [history[user][number - 1] for number in entry["items"] if number <= len(history[user])],
        )
        for reply in map(json.loads, path.read_text("utf-8").splitlines())
        if (user := user_idx.get(reply["user_id"])) in history
        for entry in reply["interests"]
    ]
    encoder = engines_of(load_recipe("ml-100k", None, []), store).encoder()
    vectors = encode_texts(encoder, [interest for _, interest, _ in rows], 64, lambda _: None)
    encoder.close()
    return Named(np.array([user for user, _, _ in rows]), [row[1] for row in rows], [row[2] for row in rows], vectors)


def _cost(store: Store, esim: Artifact) -> dict[str, float]:
    manifest = store.parent(esim, "interests").manifest
    requests = max(1, int(manifest.summary["users"]))
    tokens = manifest.summary["prompt_tokens"], manifest.summary["reply_tokens"]
    return {
        "tokens": f"{tokens[0] / requests:.0f} + {tokens[1] / requests:.0f}",
        "seconds": manifest.seconds / requests,
        "copied": manifest.summary["copied_evidence"],
    }


def _print_row(name: str, figures: dict[str, float]) -> None:
    cells = [figures.get(column, "") for column in COLUMNS]
    print(f"| {name} |", " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells), "|")


def _print_users(store: Store, esim: Artifact, named: list[Named], count: int) -> None:
    """The first typical users, as they are: their titles, and their interests by each source."""
    items = store.parent(esim, "dataset").table("items")
    texts = items[schema.TEXT].to_pylist()
    requests: pa.Table = store.parent(esim, "requests").table("requests")
    for row in requests.slice(0, count).to_pylist():
        history = row[schema.HISTORY]
        print(f"\nuser_idx {row[schema.USER]}")
        print("\n".join(f"  {number:>2}. {texts[item - 1][:100]}" for number, item in enumerate(history, 1)))
        for source, interests in enumerate(named, 1):
            mine = np.flatnonzero(interests.user_idx == row[schema.USER])
            said = [(interests.interests[m], [history.index(i) + 1 for i in interests.evidence[m]]) for m in mine]
            print(f"  {source}:", "; ".join(f"{interest} {numbers}" for interest, numbers in said))


if __name__ == "__main__":
    main()
