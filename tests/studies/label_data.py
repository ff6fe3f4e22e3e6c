"""What a study of labels starts from: a trained model of a store, and phrases of its LLM or of another one.

Replies are JSON lines `{"user_id": ..., "interests": [{"interest": text, "items": [numbers]}]}`; numbers count from 1
the titles that the prompt showed.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from eimf import schema
from eimf.data.histories import Histories
from eimf.data.windows import pad_windows, window_index
from eimf.esim.encode import encode_texts
from eimf.esim.prompt import prompt_history
from eimf.export.phrases import Phrases, read_phrases
from eimf.export.tower import TorchTower
from eimf.store.artifact import Artifact, Store
from pipeline.serving import load_backbone
from pipeline.stages.load import histories_of

MAX_TITLES, TITLE_CHARS = 15, 80
ENCODER = next(iter(sorted((Path.home() / ".cache/eimf").glob("all-minilm-l6-v2-*-0"))), Path())


@dataclass(frozen=True)
class Trained:
    """A trained model with its dataset. `table` [N + 1, D] are the items' vectors, `text_vectors` [N, S] their
    texts'."""

    name: str
    store: Store
    dataset: Artifact
    item_vectors: Artifact
    histories: Histories
    tower: TorchTower
    table: np.ndarray
    text_vectors: np.ndarray
    texts: list[str]
    titles: list[str | None]
    item_ids: list[str]
    max_length: int
    keep_seen: bool

    def some_users(self, count: int) -> np.ndarray:
        """Users drawn by chance, always the same."""
        return np.random.default_rng(0).permutation(self.histories.num_users)[:count]

    def _ends(self, user: np.ndarray, split: str | None) -> np.ndarray:
        if split is None:
            return self.histories.num_train[user]
        cases = self.histories.cases[split]
        end = np.zeros(self.histories.num_users, np.int64)
        end[cases.user_idx] = cases.history_end
        return end[user]

    def histories_before(self, user: np.ndarray, split: str | None) -> list[np.ndarray]:
        """item_idx of each user's events before the held-out one of `split`; None: the training events."""
        begin = self.histories.offsets[user]
        return [self.histories.item_idx[a : a + n] for a, n in zip(begin, self._ends(user, split), strict=True)]

    def interests(self, user: np.ndarray, split: str | None) -> np.ndarray:
        """Interests [U, K, D] after the same events."""
        results = []
        for start in range(0, len(user), 256):
            part = user[start : start + 256]
            begin, length = self.histories.offsets[part], self._ends(part, split)
            index = window_index(begin, begin + length, self.max_length)
            times = self.histories.timestamps
            times = None if times is None else pad_windows(times, index)
            items = pad_windows(self.histories.item_idx, index)
            results.append(self.tower.interests(items, np.minimum(length, self.max_length), times))
        return np.concatenate(results)

    def interests_of(self, esim_key: str | None) -> tuple[pa.Table, pa.Table]:
        """The tables of the interests and their vectors of an ESIM artifact, by default the newest of the dataset."""
        every = [self.store.get(kind, key) for kind, key in self.store.listing() if kind == "esim"]
        ours = [esim for esim in every if esim.parent("dataset") == self.dataset.key]
        newest = max(ours, key=lambda esim: esim.manifest.created)
        esim = self.store.get("esim", esim_key) if esim_key else newest
        parts = (
            (self.store.parent(esim, "interests"), "interests"),
            (self.store.parent(esim, "interest_vectors"), "vectors"),
        )
        interests, vectors = (artifact.table(name) for artifact, name in parts)
        return interests, vectors


def load(store: Store, key: str) -> Trained:
    """A checkpoint of a store, with the items' texts."""
    checkpoint = store.get("checkpoint", key)
    dataset = store.get("dataset", checkpoint.parent("dataset"))
    every = [store.get(kind, name) for kind, name in store.listing() if kind == "item_vectors"]
    item_vectors = next(artifact for artifact in every if artifact.parent("dataset") == dataset.key)
    histories = histories_of({"dataset": dataset})
    trained, backbone = load_backbone(checkpoint, histories.num_items)
    items = dataset.table("items")
    texts, titles, item_ids = (items[name].to_pylist() for name in (schema.TEXT, schema.TITLE, schema.ITEM_ID))
    return Trained(
        f"{trained.model.backbone} {checkpoint.short}",
        store,
        dataset,
        item_vectors,
        histories,
        TorchTower(backbone),
        backbone.item_table.weight.detach().numpy(),
        schema.vectors_of(item_vectors.table("vectors")),
        texts,
        titles,
        item_ids,
        trained.model.max_length,
        trained.keep_seen,
    )


class MiniLM:
    """The default encoder by transformers: the mean over tokens, as the artifacts have it to 1e-3."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.tokenizer, self.model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> np.ndarray:
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=256, return_tensors="pt")
        hidden, mask = self.model(**tokens).last_hidden_state, tokens["attention_mask"].unsqueeze(2)
        return ((hidden * mask).sum(dim=1) / mask.sum(dim=1)).numpy()

    def close(self) -> None:
        pass


def phrases_of_replies(path: Path, dataset: Artifact, items: Artifact, cache: Path) -> Phrases:
    """The phrases of a file of replies, encoded like the texts of `items`; vectors are kept in the folder `cache`."""
    train = histories_of({"dataset": dataset}).training()
    titles = dataset.table("items", [schema.TITLE])[schema.TITLE].to_pylist()
    user_idx = {user_id: row for row, user_id in enumerate(dataset.table("users")[schema.USER_ID].to_pylist())}
    texts, evidence = [], []
    for line in path.read_text().splitlines():
        reply = json.loads(line)
        user = user_idx[reply["user_id"]]
        events = train.item_idx[train.offsets[user] : train.offsets[user + 1]]
        shown = prompt_history(events, titles, MAX_TITLES, TITLE_CHARS)
        assert shown is not None
        for entry in reply["interests"]:
            texts.append(entry["interest"])
            evidence.append([shown.item_idx[number - 1] for number in entry["items"]])
    return Phrases(np.arange(len(texts)), texts, evidence, encoded(texts, dataset, items, cache))


def encoded(texts: Sequence[str], dataset: Artifact, items: Artifact, cache: Path) -> np.ndarray:
    """Unit vectors of `texts`. Stops if the encoder differs from the one that made the artifact `items`."""
    path = cache / f"{hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]}.npy"
    if path.is_file():
        return np.load(path)
    encoder = MiniLM(ENCODER)
    wanted = schema.vectors_of(items.table("vectors"))[:64]
    item_texts = dataset.table("items", [schema.TEXT])[schema.TEXT].to_pylist()[:64]
    difference = np.abs(encode_texts(encoder, item_texts, 16, lambda _: None) - wanted).max()
    assert difference < 1e-3, f"another encoder made the items' vectors: they differ by {difference:.4f}"
    vectors = encode_texts(encoder, list(texts), 64, lambda _: None)
    cache.mkdir(parents=True, exist_ok=True)
    np.save(path, vectors)
    return vectors


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """The options of every study of names."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--esim", help="whose interests; default: the newest of the dataset")
    parser.add_argument("--replies", type=Path, help="another LLM's replies instead")
    parser.add_argument("--source", default="the LLM of the store", help="which LLM, for the title of the table")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/eimf/studies")
    return parser


def load_phrases(options: argparse.Namespace) -> tuple[Trained, Phrases]:
    """The training and the phrases that the options name."""
    trained = load(Store(options.store), options.checkpoint)
    if options.replies:
        phrases = phrases_of_replies(options.replies, trained.dataset, trained.item_vectors, options.cache)
        return trained, phrases
    return trained, read_phrases(*trained.interests_of(options.esim))
