"""A bundle that the page shows: named interests, and titles and names that try to break out of the text."""

import json
from pathlib import Path

import numpy as np

from eimf.serving import manifest as names
from eimf.serving.bundle import read_manifest
from eimf.serving.cold_start import MANY, ColdStartPart, ColdStartWeights
from eimf.serving.labels import LabelSettings, unit
from tests.pipeline.http import bundles

NAMES = ["Office chairs", "Printer ink", "Fountain pens", "<img src=x onerror=window.ran=1>"]
HOSTILE = {
    "i001": "<script>window.ran=1</script>",
    "i002": "\"'><img src=x onerror=window.ran=1>",
    "i003": "\u202eמקלדת \u2067لوحة المفاتيح",
    "i004": "w" * 300,
    "i005": "' onmouseover='window.ran=1' & \u0000{{7*7}} ${window.ran=1}",
    "i006": None,
}


def title(number: int) -> str | None:
    """The title of item `number`, from 1: every fourth item belongs to the same interest."""
    kind = ["Chair", "Ink", "Pen", "Odd thing"][number % 4]
    return HOSTILE.get(f"i{number:03}", f"{kind} number {number}")


def write(folder: Path) -> Path:
    """Such a bundle in the new folder `folder`. Items and labels of an interest have similar vectors."""
    bundles.write(folder)
    rng = np.random.default_rng(3)
    centers = np.eye(len(NAMES), bundles.WIDTH, dtype=np.float32) * 3
    label_of = np.arange(1, bundles.ITEMS + 1) % len(NAMES)
    table = np.zeros((bundles.ITEMS + 1, bundles.WIDTH), np.float32)
    table[1:] = centers[label_of] + rng.standard_normal((bundles.ITEMS, bundles.WIDTH)) / 3
    np.save(folder / names.ITEM_VECTORS, table)
    np.save(folder / names.ITEM_LABELS, label_of.astype(np.int32))
    np.save(folder / names.LABEL_VECTORS, unit(centers))
    np.save(folder / names.USER_MEANS, np.concatenate([np.zeros((1, bundles.WIDTH), np.float32), centers]))
    items = [{"item_id": item_id, "title": title(number)} for number, item_id in enumerate(bundles.ITEM_IDS, 1)]
    (folder / names.ITEMS).write_text("".join(f"{json.dumps(item)}\n" for item in items))
    examples = [[number for number in range(1, bundles.ITEMS) if number % 4 == label][:3] for label in range(4)]
    labels = [{"name": name, "item_idx": shown} for name, shown in zip(NAMES, examples, strict=True)]
    (folder / names.LABELS).write_text(json.dumps({"labels": labels, "menu": [0, 1, 2, 3]}))
    named = ColdStartPart(
        unnamed=ColdStartWeights(recent=1.0),
        named=(ColdStartWeights(recent=1.0, names=10.0, history=1.0),) * (MANY + 1),
    )
    parts = {"labels": LabelSettings(count=len(NAMES), threshold=-1.0), "cold_start": named}
    bundles.sign(folder, read_manifest(folder).model_copy(update=parts))
    return folder
