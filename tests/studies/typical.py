"""What the typical users of each selector cover, without any training.

    python -m tests.studies.typical -r tests/studies/office.toml     a store with stage one finished up to row 3

Rows: selectors with one and two typical users a cluster, twice as many clusters, affinity propagation, and k-means with
as many clusters. Columns: typical users; mean and low decile of the cosine of users to their nearest typical user of
the same cluster; share of the items that prompts of 15 titles show, and of the training events of these items.
"""

import argparse
from pathlib import Path

import numpy as np

from eimf import schema
from eimf.config import ClusterSettings
from eimf.esim.coverage import cosines_to_typical, coverage_of
from eimf.esim.typical import Population
from eimf.store.artifact import Store
from pipeline.console import info
from pipeline.recipe import load_recipe
from pipeline.report.markdown import format_markdown
from pipeline.report.tables import Cell, Number, Table
from pipeline.stages.load import histories_of
from pipeline.stages.stage import Artifacts
from pipeline.stages.stage_one import engines_of, stage_one
from pipeline.stages.users import choose_typical, cluster_vectors

SHOWN = 15
SELECTORS = ("nearest", "dense", "cover-items", "cover-events")
COLUMNS = ("typical users", "mean cosine", "low decile", "items shown", "their events")


def study(artifacts: Artifacts) -> Table:
    """The table, of the artifacts of stages 1 to 3."""
    histories = histories_of(artifacts)
    vectors = schema.vectors_of(artifacts["user_vectors"].table("vectors"))
    frequency = histories.frequency()

    def cells(settings: ClusterSettings) -> tuple[int, tuple[Cell, ...]]:
        clusters, _ = cluster_vectors(settings, vectors, 1)
        population = Population(clusters.cluster, clusters.similarity, histories.num_train, vectors, histories)
        typical = choose_typical(settings, SHOWN, population)
        users = typical[schema.USER].to_numpy()
        coverage = coverage_of(cosines_to_typical(vectors, clusters.cluster, typical, vectors[users]))
        last = [histories.item_idx[histories.offsets[u] :][: histories.num_train[u]][-SHOWN:] for u in users]
        rows = np.unique(np.concatenate(last)) - 1
        shares = len(rows) / histories.num_items, float(frequency[rows].sum() / frequency.sum())
        values = [Number(value) for value in (coverage.mean, coverage.low, *shares)]
        return len(clusters.centroids), (str(len(users)), *values)

    base, rows = ClusterSettings(), []
    for per_cluster in (1, 2):
        for name in SELECTORS:
            settings = base.model_copy(update={"typical": name, "typical_per_cluster": per_cluster})
            count, shown = cells(settings)
            rows.append((f"{name}, {per_cluster} a cluster", shown))
    rows.append((f"nearest, {2 * count} clusters", cells(base.model_copy(update={"count": 2 * count}))[1]))
    count, shown = cells(ClusterSettings(method="affinity-propagation"))
    rows.append(("affinity propagation", shown))
    rows.append((f"nearest, {count} clusters", cells(base.model_copy(update={"count": count}))[1]))
    return Table("selector", COLUMNS, tuple(rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-r", "--recipe", type=Path, required=True)
    parser.add_argument("-s", "--store", type=Path, default=Path("artifacts"))
    given = parser.parse_args()
    recipe, store = load_recipe("", given.recipe, []), Store(given.store)
    artifacts = {}
    for stage in stage_one(recipe, engines_of(recipe, store), store)[:3]:
        key = stage.key({kind: artifact.key for kind, artifact in artifacts.items()})
        artifacts[stage.kind] = store.get(stage.kind, key)
    info(format_markdown(study(artifacts)))
