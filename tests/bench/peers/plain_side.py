"""A plain SASRec in PyTorch, as one would write it in an afternoon: padded batches, torch's encoder layers, all logits
at once. Compiled, it is what ours is measured against on a GPU, where the public trainers are not the bar.

    python plain_side.py CONFIG.json     speaks with the driver (see common.py)

CONFIG: events, length, width, dropout, batch (sequences), threads, compile, precision. `tests/bench/gpu.py` takes the
model from here.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import common

common.tune_allocator()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class SASRec(nn.Module):
    def __init__(self, items: int, width: int, length: int, dropout: float) -> None:
        super().__init__()
        self.table, self.position = nn.Embedding(items + 1, width, padding_idx=0), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(width, 2, 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, items: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        place = torch.arange(items.shape[1], device=items.device)
        mask = nn.Transformer.generate_square_subsequent_mask(items.shape[1], device=items.device)
        hidden = self.encoder(self.table(items) + self.position(place), mask=mask, is_causal=True)
        logits = hidden @ self.table.weight.T
        return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=0)


def padded(events: common.Events, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets [users, length]: the most recent training events, padded at the end."""
    past = events.before(common.VALID)
    offsets = np.searchsorted(past.user, np.arange(events.users + 1))
    rows = np.zeros((events.users, length + 1), np.int64)
    for user in range(events.users):
        recent = past.item[offsets[user] : offsets[user + 1]][-length - 1 :]
        rows[user, : len(recent)] = recent
    whole = torch.from_numpy(rows[rows[:, 1] > 0])
    return whole[:, :-1] * (whole[:, 1:] > 0), whole[:, 1:].contiguous()


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(config["threads"])
    driver = common.Driver(torch.cuda.synchronize if DEVICE.type == "cuda" else None)
    events = common.read_events(config["events"])
    inputs, targets = padded(events, config["length"])
    model = SASRec(events.items, config["width"], config["length"], config["dropout"]).to(DEVICE).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0, fused=True)
    step = torch.compile(model) if config["compile"] else model
    half = config["precision"] == "bfloat16"
    driver.tell(ready=True)
    while True:
        command = driver.next()
        if command["do"] != "train":
            continue
        driver.start(command["seconds"])
        going = True
        while going:
            # Whole batches only: a compiled model is made anew for another shape.
            for rows in torch.randperm(len(inputs)).split(config["batch"])[:-1]:
                optimizer.zero_grad()
                with torch.autocast(DEVICE.type, torch.bfloat16, enabled=half):
                    loss = step(inputs[rows].to(DEVICE), targets[rows].to(DEVICE))
                loss.backward()
                optimizer.step()
                going = driver.on_progress(int((targets[rows] > 0).sum()))
                if not going:
                    break


if __name__ == "__main__":
    main()
