"""RecTools 0.19 on the benchmark's events: its own SASRec, loaders, Lightning loop and ranking.

    python rectools_side.py CONFIG.json     speaks with the driver (see common.py)

CONFIG: events, length, width, dropout, batch, threads, allocator.
"""

import contextlib
import json
import logging
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import common

CONFIG = json.loads(Path(sys.argv[1]).read_text())
if CONFIG["allocator"]:
    common.tune_allocator()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from pytorch_lightning import Callback, Trainer  # noqa: E402
from rectools import Columns  # noqa: E402
from rectools.dataset import Dataset  # noqa: E402
from rectools.models import SASRecModel  # noqa: E402

warnings.filterwarnings("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


class Pace(Callback):
    """Tell the driver after each step; stop where it has enough."""

    def __init__(self, driver: common.Driver) -> None:
        self.driver = driver

    def __deepcopy__(self, memo) -> "Pace":
        return self  # RecTools copies its trainer; there is one driver only

    def on_train_batch_end(self, trainer, module, outputs, batch, number) -> None:
        if not self.driver.on_progress(int((batch["y"] != 0).sum())):
            raise KeyboardInterrupt


class Side:
    """One model with its data: all events before the validation events."""

    def __init__(self, driver: common.Driver, events: common.Events) -> None:
        torch.set_num_threads(CONFIG["threads"])
        self.driver, self.events = driver, events
        past = events.before(common.VALID)
        frame = pd.DataFrame({Columns.User: past.user, Columns.Item: past.item, Columns.Weight: 1.0})
        frame[Columns.Datetime] = pd.to_datetime(np.arange(len(frame)), unit="s")
        self.dataset = Dataset.construct(frame)

    def model(self, epochs: int, callbacks: list[Callback]) -> SASRecModel:
        def trainer() -> Trainer:
            return Trainer(
                max_epochs=epochs,
                accelerator="cpu",
                logger=False,
                enable_progress_bar=False,
                callbacks=callbacks,
                enable_model_summary=False,
                enable_checkpointing=False,
            )

        torch.manual_seed(2026)
        return SASRecModel(
            n_factors=CONFIG["width"],
            n_blocks=2,
            n_heads=2,
            session_max_len=CONFIG["length"],
            lr=1e-3,
            loss="softmax",
            dropout_rate=CONFIG["dropout"],
            batch_size=CONFIG["batch"],
            dataloader_num_workers=0,
            train_min_user_interactions=2,
            get_trainer_func=trainer,
            recommend_torch_device="cpu",
        )

    def train(self, seconds: float) -> None:
        self.driver.start(seconds)
        with contextlib.suppress(KeyboardInterrupt, SystemExit):  # Lightning's own way to end a run at once
            self.model(10_000, [Pace(self.driver)]).fit(self.dataset)

    def fit(self, epochs: int) -> None:
        """All epochs, the time they took, and what came of them."""
        begin, cpu = time.perf_counter(), time.process_time()
        fitted = self.model(epochs, [])
        fitted.fit(self.dataset)
        self.fitted = fitted
        self.driver.tell(
            epoch=epochs, seconds=time.perf_counter() - begin, cpu_seconds=time.process_time() - cpu, ndcg=self.ndcg()
        )
        self.driver.tell(done=True)

    def rank(self, seconds: float) -> dict:
        """Its own recommendation of ten items to every user, again and again for about so long."""
        users, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < seconds:
            self._top10()
            users += self.events.users
        return {"users": users, "seconds": time.perf_counter() - begin}

    def _top10(self) -> pd.DataFrame:
        return self.fitted.recommend(np.arange(self.events.users), self.dataset, k=10, filter_viewed=True)

    def ndcg(self) -> float:
        """Validation NDCG@10 of its recommendations; a target that was seen before is filtered, as everywhere."""
        valid = self.events.split == common.VALID
        target = dict(zip(self.events.user[valid].tolist(), self.events.item[valid].tolist(), strict=True))
        top = self._top10()
        hit = top[Columns.Item].to_numpy() == np.array([target[user] for user in top[Columns.User]])
        return float((1 / np.log2(1 + top[Columns.Rank].to_numpy()[hit])).sum() / self.events.users)


def main() -> None:
    driver = common.Driver()
    side = Side(driver, common.read_events(CONFIG["events"]))
    driver.tell(ready=True)
    while True:
        command = driver.next()
        if command["do"] == "train":
            side.train(command["seconds"])
        elif command["do"] == "fit":
            side.fit(command["epochs"])
        elif command["do"] == "rank":
            driver.tell(**side.rank(command["seconds"]))


main()
