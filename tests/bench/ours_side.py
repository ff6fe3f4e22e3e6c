"""EIMF on the benchmark's events, and what its floor is measured by: the same talk with the driver as the peers.

python ours_side.py CONFIG.json     CONFIG: events, model, length, width, dropout, batch, threads, precision, loss,
                                    heads, patience
"""

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import common

from eimf.config import HeadSettings, ModelSettings, RuntimeSettings, TrainSettings
from pipeline.backends.device import prepare_torch

CONFIG: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
DEVICE = prepare_torch(RuntimeSettings(threads=CONFIG["threads"]))

import faiss  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from data import random_supervision, read_histories  # noqa: E402

from eimf import schema  # noqa: E402
from eimf.backbones.build import build_backbone  # noqa: E402
from eimf.evaluation.rank_users import mean_metric, rank_users  # noqa: E402
from eimf.retrieval import rank  # noqa: E402
from eimf.semantics.build import build_side_information  # noqa: E402
from eimf.train.execution import Execution  # noqa: E402
from eimf.train.loop import Progress, Trainer  # noqa: E402


class Enough(Exception):
    """The driver has what it wants of this epoch."""


class Side:
    def __init__(self, driver: common.Driver, events: str) -> None:
        self.driver = driver
        self.histories = read_histories(events)
        self.trainer = self._trainer()

    def _trainer(self) -> Trainer:
        model = ModelSettings(
            backbone=CONFIG["model"], width=CONFIG["width"], max_length=CONFIG["length"], dropout=CONFIG["dropout"]
        )
        settings = TrainSettings(batch_positions=CONFIG["batch"], precision=CONFIG["precision"], loss=CONFIG["loss"])
        backbone, semantics = build_backbone(model, self.histories.num_items, 1), None
        if CONFIG["heads"]:
            supervision = random_supervision(self.histories)
            semantics = build_side_information(backbone, supervision, self.histories, HeadSettings(), 1)
        execution = Execution(DEVICE, block_rows=RuntimeSettings().softmax_block_rows)
        return Trainer(backbone, semantics, self.histories, settings, max_length=CONFIG["length"], execution=execution)

    def train(self, seconds: float) -> None:
        self.driver.start(seconds)
        epoch = 0
        while True:
            try:
                self.trainer.epoch(epoch, self._tick)
            except Enough:
                self.trainer = self._trainer()
                return
            epoch += 1

    def _tick(self, targets: int) -> None:
        if not self.driver.on_progress(targets):
            raise Enough

    def profile(self) -> dict[str, float]:
        """Where the steps of some seconds go: share of each operator's own time, the largest ones."""
        end = time.perf_counter() + 3

        def on_progress(_: int) -> None:
            if time.perf_counter() > end:
                raise Enough

        with torch.profiler.profile() as profiler, contextlib.suppress(Enough):
            self._trainer().epoch(0, on_progress)
        spent = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
        whole = sum(spent.values())
        largest = sorted(spent, key=lambda name: -spent[name])[:12]
        return {name: round(spent[name] / whole, 4) for name in largest}

    def fit(self, epochs: int) -> None:
        """So many epochs, or until early stopping; a line each."""
        self.trainer, standing = self._trainer(), Progress()
        while not standing.finished(epochs, CONFIG["patience"]):
            begin, cpu = time.perf_counter(), time.process_time()
            self.trainer.epoch(standing.epochs, lambda _: None)
            value = mean_metric(self._ranking(), "ndcg", 10)
            standing = standing.after(value)
            spent, spent_cpu = time.perf_counter() - begin, time.process_time() - cpu
            self.driver.tell(epoch=standing.epochs, seconds=spent, cpu_seconds=spent_cpu, ndcg=value)
        self.driver.tell(done=True)

    def _ranking(self, on_progress=lambda _: None):
        return rank_users(
            self.trainer.backbone,
            self.histories,
            schema.VALID,
            max_length=CONFIG["length"],
            keep_seen=False,
            batch_size=RuntimeSettings().eval_batch_size,
            on_progress=on_progress,
        )

    def operations(self) -> int:
        """Operations of the backbone for one position, forward and backward: two a weight of its linear maps, thrice.
        The attention's own products, a few percent more, are left out."""
        maps = (module for module in self.trainer.backbone.modules() if isinstance(module, torch.nn.Linear))
        return 6 * sum(each.weight.numel() for each in maps)

    def rank(self, seconds: float) -> dict[str, float]:
        """Encode every user, rank the validation target among all items, again and again for about so long."""
        users, begin = 0, time.perf_counter()

        def on_progress(count: int) -> None:
            nonlocal users
            users += count
            if time.perf_counter() - begin >= seconds:
                raise Enough

        try:
            while True:
                self._ranking(on_progress)
        except Enough:
            return {"users": users, "seconds": time.perf_counter() - begin}

    @torch.no_grad()
    def rank_vectors(self, seconds: float) -> dict[str, float]:
        """Users a second for given user vectors: our exact ranks, and FAISS's flat search for the ten best."""
        table = self.trainer.backbone.item_vectors
        most = RuntimeSettings().eval_batch_size
        vectors = torch.randn(2048, table.shape[1], device=DEVICE)
        target = torch.randint(1, len(table) + 1, (len(vectors),), device=DEVICE)
        index = faiss.IndexFlatIP(table.shape[1])
        index.add(table.cpu().numpy())

        def ours() -> None:
            for part in range(0, len(vectors), most):
                rank(vectors[part : part + most, None], table, target[part : part + most])

        rates = {}
        for name, search in (("ours", ours), ("faiss", lambda: index.search(vectors.cpu().numpy(), 10))) * 2:
            done, begin = 0, time.perf_counter()
            while time.perf_counter() - begin < seconds:
                search()
                done += len(vectors)
            rates[name] = max(rates.get(name, 0), done / (time.perf_counter() - begin))
        return rates


def synchronize() -> None:
    """Wait until a GPU has done what it was given."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def product_rate(dtype: torch.dtype) -> float:
    """Operations a second of the best of several square matrix products, as torch is set here."""
    a, b = (torch.randn(4096, 4096, dtype=torch.float32, device=DEVICE).to(dtype) for _ in range(2))
    best = np.inf
    for _ in range(6):
        begin = time.perf_counter()
        a @ b
        synchronize()
        best = min(best, time.perf_counter() - begin)
    return 2 * 4096**3 / best


def main() -> None:
    driver = common.Driver(synchronize)
    side = Side(driver, CONFIG["events"])
    driver.tell(ready=True)
    while True:
        command = driver.next()
        match command["do"]:
            case "train":
                side.train(command["seconds"])
            case "fit":
                side.fit(command["epochs"])
            case "rank":
                driver.tell(**side.rank(command["seconds"]))
            case "rank_vectors":
                driver.tell(**side.rank_vectors(command["seconds"]))
            case "operations":
                driver.tell(operations=side.operations())
            case "profile":
                driver.tell(**side.profile())
            case "product_rate":
                dtype = torch.bfloat16 if CONFIG["precision"] == "bfloat16" else torch.float32
                driver.tell(rate=product_rate(dtype))


main()
