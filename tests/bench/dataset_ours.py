"""Stage 1 alone, in a process of its own, as `eimf esim` runs it first.

    python -m tests.bench.dataset_ours CONFIG.json     prints its counts as JSON

CONFIG: recipe (a file), target (the folder of a new store), min_events, min_item_events.
"""

import json
import sys
from pathlib import Path

from eimf.store.artifact import Store
from pipeline.recipe import load_recipe
from pipeline.stages.dataset import dataset_stage
from pipeline.stages.stage import find_or_build


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text())
    overrides = [f"cleaning.{name}={config[name]}" for name in ("min_events", "min_item_events")]
    recipe = load_recipe("", Path(config["recipe"]), overrides)
    stage = dataset_stage(recipe)
    artifact, _ = find_or_build(stage, Store(Path(config["target"])), {})
    counts = {name: artifact.manifest.summary[name] for name in ("users", "items", "events")}
    print(json.dumps({**counts, "folder": str(artifact.folder)}))


if __name__ == "__main__":
    main()
