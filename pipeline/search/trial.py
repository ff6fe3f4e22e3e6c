"""One trial in a process of its own: a training that its pruner may end. It ranks validation items only."""

import json
from collections.abc import Sequence

from eimf.errors import DivergedError
from eimf.store.artifact import Artifact
from pipeline.recipe import Recipe
from pipeline.search.proposals import Pruning
from pipeline.stages.checkpoint import checkpoint_stage
from pipeline.stages.resolve import prepare_and_resolve
from pipeline.stages.stage import find_or_build
from pipeline.stores import open_store
from pipeline.sweeps.processes import Outcome


class _Pruned(Exception):
    """The trial ends after `valid`."""

    def __init__(self, valid: Sequence[float]) -> None:
        super().__init__(f"pruned after epoch {len(valid)}")
        self.valid = list(valid)


def run_trial(recipe: Recipe, address: str, pruning: Pruning | None) -> Outcome:
    """Train, and calibrate if the recipe says so: the fields of a `SearchTrial` that its proposal does not have. A
    training in the store is not run again, but pruned as if it was."""
    store = open_store(address)
    training = prepare_and_resolve(recipe, store)
    key = training.checkpoint_key

    def prune(valid: Sequence[float]) -> None:
        epoch = None if pruning is None else pruning.after(valid)
        if epoch is not None:
            raise _Pruned(valid[:epoch])

    def watch(valid: Sequence[float]) -> None:
        try:
            prune(valid)
        except _Pruned as pruned:
            if len(pruned.valid) == len(valid):  # another command has not trained it for longer
                store.remove_run(key)
            raise

    try:
        checkpoint, built = find_or_build(checkpoint_stage(training.job, watch), store, training.artifacts)
        valid = _curve(checkpoint)
        if not built:
            prune(valid[:-1])
        value = max(valid)
        if training.calibration is not None:
            artifacts = {**training.artifacts, "checkpoint": checkpoint}
            value = find_or_build(training.calibration, store, artifacts)[0].summary_number("valid_ndcg@10")
    except _Pruned as pruned:
        return {"state": "pruned", "valid": pruned.valid, "checkpoint": key}
    except DivergedError as error:
        return {"state": "failed", "reason": str(error), "checkpoint": key}
    return {"state": "complete", "valid": valid, "value": value, "checkpoint": key}


def _curve(checkpoint: Artifact) -> list[float]:
    """Validation NDCG@10 after each epoch of a finished training."""
    lines = checkpoint.file("epochs.jsonl").read_text().splitlines()
    return [json.loads(line)["valid_ndcg@10"] for line in lines]
