"""The phrases that a study of labels starts from: the default LLM's from a store, or another LLM's replies from a file.

Replies are JSON lines `{"user_id": ..., "interests": [{"interest": text, "items": [numbers]}]}`; numbers count from 1
the titles that the prompt showed.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from eimf import schema
from eimf.esim.encode import encode_texts
from eimf.esim.prompt import prompt_history
from eimf.export.phrases import Phrases
from eimf.store.artifact import Artifact
from pipeline.stages.load import histories_of

MAX_TITLES, TITLE_CHARS = 15, 80
ENCODER = next(iter(sorted((Path.home() / ".cache/eimf").glob("all-minilm-l6-v2-*-0"))), Path())


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
