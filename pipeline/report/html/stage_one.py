"""What stage one has made of a dataset, as far as the store has it."""

from dataclasses import dataclass

from eimf.store.artifact import Artifact, Store
from pipeline.report.artifact import ancestry
from pipeline.stages.stage import Artifacts


@dataclass(frozen=True)
class StageOne:
    """An `esim` artifact and those that it was built from, by kind; `name` is that of the dataset. A training machine
    has `esim`, `dataset` and `item_vectors` only."""

    name: str
    artifacts: Artifacts

    @property
    def esim(self) -> Artifact:
        return self.artifacts["esim"]

    def has(self, *kinds: str) -> bool:
        """Whether the store has an artifact of each of these kinds."""
        return all(kind in self.artifacts for kind in kinds)


def stage_one_of(store: Store, esim: Artifact, name: str = "") -> StageOne:
    """What the store has of an `esim` artifact. Without a `name` the dataset is called by its key."""
    return StageOne(name or f"Dataset {esim.parent('dataset')[:12]}", ancestry(store, esim))
