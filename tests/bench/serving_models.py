"""Bundles of any size with an untrained user tower, and what answers from them."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import faiss
import numpy as np
import torch

from eimf.backbones.base import Backbone
from eimf.backbones.build import build_backbone
from eimf.choice.calibrated import Calibrated
from eimf.config import ModelSettings
from eimf.export.cold_start import BuiltColdStart
from eimf.export.index import BuiltIndex, build_index
from eimf.export.tower import TorchTower
from eimf.export.write import Content, write_bundle
from eimf.retrieval import Exclude, best_item_idx
from eimf.serving.cold_start import ITEM_SCORES, ColdStartPart, ColdStartWeights
from eimf.serving.faiss_index import open_index
from eimf.serving.manifest import Model, Source
from eimf.serving.recommend import Recommender

WIDTH, LENGTH, COUNT = 64, 50, 50
GROUP, SPREAD = 200, 0.6
Answer = Callable[[list[str]], object]
"""Answers one history."""


def item_vectors(items: int, seed: int = 2026) -> np.ndarray:
    """[N + 1, D]: groups of about 200 items around normal centres, each item off its centre by `SPREAD`."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, items // GROUP), WIDTH), np.float32)
    table = centres[rng.integers(0, len(centres), items + 1)]
    table += SPREAD * rng.standard_normal(table.shape, np.float32)
    table[0] = 0
    return table / np.sqrt(WIDTH, dtype=np.float32)


def write(folder: Path, items: int, interests: int, further: int = 0) -> Backbone:
    """Write a bundle of SASRec for one interest, of ComiRec-SA for more; returns the backbone. With `further`
    coordinates it is calibrated, and they are as large as the item vectors."""
    name = "sasrec" if interests == 1 else "comirec-sa"
    options = {} if interests == 1 else {name: {"interests": interests}}
    settings = ModelSettings(backbone=name, width=WIDTH, max_length=LENGTH, options=options)
    backbone: Backbone = build_backbone(settings, items, 2026).eval()
    with torch.no_grad():
        backbone.item_table.weight.copy_(torch.from_numpy(item_vectors(items)))
    if further:
        backbone = _calibrated(backbone, items, further)
    model = Model(
        backbone=name,
        width=backbone.item_table.embedding_dim,
        base_width=WIDTH,
        interests=interests,
        max_length=LENGTH,
        uses_timestamps=False,
        keep_seen=False,
        num_items=items,
    )
    ids = [f"i{number}" for number in range(1, items + 1)]
    content = Content(
        backbone=backbone,
        model=model,
        source=Source(checkpoint="0" * 64, calibration=None, dataset="0" * 64, esim=None),
        item_ids=ids,
        titles=[None] * items,
        cold_start=_no_cold_start(items, backbone.item_table.embedding_dim),
        index=BuiltIndex("exact", {}, None, None),
        metrics={"metrics": []},
    )
    write_bundle(folder, content, created="", version="bench")
    return backbone


def _calibrated(backbone: Backbone, items: int, further: int) -> Calibrated:
    """Coordinates in groups, as those of the backbone; a bias, and maps that keep the scale."""
    parts = [item_vectors(items, seed)[1:] for seed in range(-(-further // WIDTH))]
    coordinates = torch.from_numpy(np.concatenate(parts, axis=1)[:, :further])
    bias = torch.from_numpy(np.random.default_rng(1).standard_normal(items, np.float32))
    return Calibrated(backbone, coordinates, bias / 2, torch.eye(further), torch.eye(further)).eval()


def _no_cold_start(items: int, width: int) -> BuiltColdStart:
    """Nothing of it is asked for."""
    weights = ColdStartWeights(recent=1.0)
    part = ColdStartPart(unnamed=weights, named=(weights,) * 5)
    return BuiltColdStart(part, np.zeros((items, ITEM_SCORES)), np.zeros((1, width)), {})


def histories(items: int, number: int, seed: int) -> list[list[str]]:
    """Histories of `LENGTH` random events."""
    rng = np.random.default_rng(seed)
    return [[f"i{item}" for item in rng.integers(1, items + 1, LENGTH)] for _ in range(number)]


def interests_of(model: Recommender, users: list[list[str]]) -> np.ndarray:
    """[U, K, D]."""
    item_idx = np.array([[int(item[1:]) for item in user] for user in users])
    parts = [model.tower.interests(part, np.full(len(part), LENGTH), None) for part in np.array_split(item_idx, 20)]
    return np.concatenate(parts)


def with_index(model: Recommender, folder: Path, items: int) -> tuple[Recommender, dict[str, object]]:
    """The same with an approximate index, and what is to be said of it."""
    begin = time.process_time()
    users = interests_of(model, histories(items, 2000, seed=5))
    built = build_index(model.item_table, users, "ivfpq", count=COUNT)
    assert built.data is not None
    seconds = time.process_time() - begin
    approximate = Recommender.load(folder)
    approximate.index = open_index(model.item_table, built.kind, built.parameters, built.data)
    about = {**built.parameters, "recall": built.recall, "MB": round(len(built.data) / 1e6), "CPU s": round(seconds)}
    return approximate, about


def flat(model: Recommender, users: list[list[str]]) -> Answer:
    """FAISS's flat search for the interests of `users`, which are at hand: no tower, nothing excluded or merged."""
    index = faiss.IndexFlatIP(model.item_table.shape[1])
    index.add(np.ascontiguousarray(model.item_table[1:]))
    interests = iter(interests_of(model, users))
    return lambda _: index.search(np.ascontiguousarray(next(interests)), COUNT)


def search_alone(model: Recommender, users: list[list[str]]) -> Answer:
    """Our search for the same."""
    interests = iter(interests_of(model, users))
    return lambda _: model.index.search(next(interests)[None], COUNT)


def eager(backbone: Backbone) -> Answer:
    """torch: the backbone, and the ranking of the evaluation."""
    tower = TorchTower(backbone)
    table = tower.backbone.item_vectors

    def answer(user: list[str]) -> object:
        item_idx = torch.tensor([[int(item[1:]) for item in user]])
        with torch.no_grad():
            interests = tower.backbone.interests(item_idx, torch.tensor([LENGTH]))
            seen = Exclude(torch.zeros(LENGTH, dtype=torch.int64), item_idx[0])
            return best_item_idx(interests, table, seen, COUNT)

    return answer


@contextmanager
def served(folder: Path, core: int) -> Iterator[Answer]:
    """`eimf serve` in a process on `core`, asked by a client that keeps its connection."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "serve", str(folder), "--port", str(port)]
    process = subprocess.Popen(["taskset", "-c", str(core), *command], stderr=subprocess.DEVNULL)
    try:
        connection, headers = _connected(port, process), {"Content-Type": "application/json"}

        def answer(user: list[str]) -> object:
            connection.request("POST", "/recommend", json.dumps({"history": user, "count": COUNT}), headers)
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200, body[:300]
            return body

        yield answer
    finally:
        process.terminate()
        process.wait(20)


def _connected(port: int, process: subprocess.Popen[bytes]) -> HTTPConnection:
    for _ in range(600):
        assert process.poll() is None, "the service ended"
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", "/ready")
            if connection.getresponse().read() and connection.sock is not None:
                return connection
        except OSError:
            pass
        time.sleep(0.2)
    raise TimeoutError("the service does not answer")
