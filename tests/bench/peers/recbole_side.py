"""RecBole 1.2.1 on the benchmark's events: its own models, loaders, optimizer and evaluation.

    python recbole_side.py CONFIG.json     speaks with the driver (see common.py)

CONFIG: events, folder, model, length, width, dropout, batch, threads, allocator, and for `fit`: epochs, patience.
"""

import json
import logging
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import common
import recbole_shims

CONFIG = json.loads(Path(sys.argv[1]).read_text())
if CONFIG["allocator"]:
    common.tune_allocator()

recbole_shims.make_importable()
import numpy as np  # noqa: E402
import torch  # noqa: E402

sys.argv = sys.argv[:1]  # RecBole reads the command line of whoever imports it
from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.utils import get_model, get_trainer, init_seed  # noqa: E402


class Side:
    """One model with its data."""

    def __init__(self, events: common.Events) -> None:
        self.events = events
        folder = Path(CONFIG["folder"])
        _write_atomic_file(events, folder)
        torch.set_num_threads(CONFIG["threads"])
        self.config = Config(model=CONFIG["model"], dataset="bench", config_dict=_settings(folder))
        init_seed(self.config["seed"], self.config["reproducibility"])
        logging.disable(logging.WARNING)
        dataset = create_dataset(self.config)
        self.train_data, self.valid_data, _ = data_preparation(self.config, dataset)
        self.model = get_model(CONFIG["model"])(self.config, self.train_data.dataset)
        self.trainer = get_trainer(self.config["MODEL_TYPE"], CONFIG["model"])(self.config, self.model)
        tokens = dataset.field2id_token["item_id"]
        # RecBole numbers items anew: column j of its scores is our item number[j].
        self.number = np.array([0, *[int(token) for token in tokens[1:]]])
        self.user_number = np.array([-1, *[int(token) for token in dataset.field2id_token["user_id"][1:]]])

    def train(self, driver: common.Driver, seconds: float) -> None:
        """Its own steps, as in its `_train_epoch`, until the driver has enough."""
        driver.start(seconds)
        while True:
            self.model.train()
            for batch in self.train_data:
                self._step(batch)
                if not driver.on_progress(len(batch)):
                    return

    def _step(self, batch) -> None:
        self.trainer.optimizer.zero_grad()
        losses = self.model.calculate_loss(batch)
        (sum(losses) if isinstance(losses, tuple) else losses).backward()
        self.trainer.optimizer.step()

    @torch.no_grad()
    def rank(self, seconds: float) -> dict:
        """Its own full-sort evaluation, batch by batch, for about so long."""
        self.model.eval()
        self.trainer.tot_item_num = self.valid_data._dataset.item_num
        self.trainer.item_tensor = self.valid_data._dataset.get_item_feature().to("cpu")
        users, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < seconds:
            for batch in self.valid_data:
                interaction, scores, positive_u, positive_i = self.trainer._full_sort_batch_eval(batch)
                self.trainer.eval_collector.eval_batch_collect(scores, interaction, positive_u, positive_i)
                users += len(positive_u)
                if time.perf_counter() - begin >= seconds:
                    break
            self.trainer.evaluator.evaluate(self.trainer.eval_collector.get_data_struct())
        return {"users": users, "seconds": time.perf_counter() - begin}

    @torch.no_grad()
    def ndcg(self) -> float:
        """Validation NDCG@10 by the benchmark's own metric, seen items left out."""
        self.model.eval()
        past, valid = self.events.before(common.VALID), self.events.split == common.VALID
        offsets = np.searchsorted(past.user, np.arange(self.events.users + 1))
        target_of = np.zeros(self.events.users, np.int64)
        target_of[self.events.user[valid]] = self.events.item[valid]
        ranks = []
        for batch in self.valid_data:
            scores = self.model.full_sort_predict(batch[0]).view(len(batch[0]), -1).numpy()
            mine = np.empty_like(scores)
            mine[:, self.number] = scores
            user = self.user_number[batch[0]["user_id"].numpy()]
            count = offsets[user + 1] - offsets[user]
            row = np.repeat(np.arange(len(user)), count)
            at = np.repeat(offsets[user] - np.cumsum(count) + count, count) + np.arange(len(row))
            ranks.append(common.ranks_of(mine, target_of[user], row, past.item[at]))
        return common.ndcg_at_10(np.concatenate(ranks))

    def fit(self, driver: common.Driver) -> None:
        """Train to RecBole's own early stop, by its own validation value; an epoch is one line."""
        best, waited = -1.0, 0
        for epoch in range(1, CONFIG["epochs"] + 1):
            begin, cpu = time.perf_counter(), time.process_time()
            self.model.train()
            for batch in self.train_data:
                self._step(batch)
            trained = time.process_time() - cpu
            value = self.trainer.evaluate(self.valid_data, load_best_model=False)["ndcg@10"]
            spent, spent_cpu = time.perf_counter() - begin, time.process_time() - cpu
            driver.tell(
                epoch=epoch,
                seconds=spent,
                cpu_seconds=spent_cpu,
                cpu_seconds_training=trained,
                own_value=float(value),
                ndcg=self.ndcg(),
            )
            best, waited = (value, 0) if value > best else (best, waited + 1)
            if waited >= CONFIG["patience"]:
                return


def _write_atomic_file(events: common.Events, folder: Path) -> None:
    target = folder / "bench"
    target.mkdir(parents=True, exist_ok=True)
    rows = (f"{user}\t{item}\t{place}" for place, (user, item) in enumerate(zip(events.user, events.item, strict=True)))
    header = "user_id:token\titem_id:token\ttimestamp:float\n"
    (target / "bench.inter").write_text(header + "\n".join(rows) + "\n")


def _settings(folder: Path) -> dict:
    own = {
        "SASRec": {
            "hidden_size": CONFIG["width"],
            "inner_size": 4 * CONFIG["width"],
            "hidden_dropout_prob": CONFIG["dropout"],
            "attn_dropout_prob": CONFIG["dropout"],
        },
        "SINE": {"embedding_size": CONFIG["width"], "interest_size": 4},
    }
    return {
        **own[CONFIG["model"]],
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "show_progress": False,
        "use_gpu": False,
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "TIME_FIELD": "timestamp",
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": CONFIG["length"],
        "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"},
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "train_batch_size": CONFIG["batch"],
        "eval_batch_size": 256 if CONFIG["model"] == "SINE" else 4096,
        "metrics": ["NDCG", "Recall"],
        "topk": [10],
        "valid_metric": "NDCG@10",
        "metric_decimal_place": 6,
        "learning_rate": 1e-3,
        "seed": 2026,
    }


def main() -> None:
    driver = common.Driver()
    side = Side(common.read_events(CONFIG["events"]))
    driver.tell(ready=True)
    command = driver.next()
    while True:
        if command["do"] == "train":
            side.train(driver, command["seconds"])
        elif command["do"] == "rank":
            driver.tell(**side.rank(command["seconds"]))
        elif command["do"] == "fit":
            side.fit(driver)
            driver.tell(done=True)
        command = driver.next()


main()
