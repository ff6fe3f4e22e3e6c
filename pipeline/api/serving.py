"""What a trained backbone is for: recommendations, and a bundle to serve."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from eimf import schema
from pipeline.api.call import call
from pipeline.api.training import Trained
from pipeline.commands.export import Exported, run_export


def recommend(
    trained: Trained,
    history: Sequence[str] | None = None,
    *,
    user: str | None = None,
    times: Sequence[float] | None = None,
    count: int = 10,
    keep_seen: bool | None = None,
    progress: bool = True,
) -> pa.Table:
    """The best `count` items, best first: after a `history` of item ids, oldest first, with its `times` if the backbone
    reads them; for a `user` of the dataset after all events; or, without either, for every user.

    Returns `rank`, `item_id`, `score` and `title`; for every user `user_id`, `rank`, `item_id` and `score`. With
    `keep_seen`, items of the history may come again; None: as in training. Unknown items are skipped. Raises
    SettingError and DataError.

    >>> api.recommend(plain, ["i001", "i009"], count=3).column_names
    ['rank', 'item_id', 'score', 'title']
    >>> api.recommend(plain, count=3).num_rows
    270
    """
    with call("recommend", progress):
        from pipeline.commands import recommend as recommending

        model, dataset = trained.recommender, trained.data.artifact
        if history is None and user is None:
            tables = recommending.recommend_all(model, dataset, count, keep_seen)
            return pa.concat_tables(tables)
        recommending.check_asked(history or (), user)
        answer = recommending.recommend_one(model, dataset, history or (), times, user, count, keep_seen)
        return pa.table(
            {
                schema.RANK: pa.array(range(1, len(answer.items) + 1), pa.int32()),
                schema.ITEM_ID: [item.item_id for item in answer.items],
                schema.SCORE: pa.array([item.score for item in answer.items], pa.float32()),
                schema.TITLE: pa.array([model.catalogue.title(item.item_id) for item in answer.items], pa.string()),
            }
        )


def export(
    trained: Trained,
    output: Path | str = "bundle",
    *,
    labels: bool = True,
    index: str | None = None,
    progress: bool = True,
) -> Exported:
    """Write the bundle of a trained backbone to the folder `output`: `eimf.serving.Recommender.load(output)` and
    `eimf serve` serve it without torch and without the store.

    With `labels`, interests of the LLM name what is recommended. `index` is exact, hnsw or ivfpq, by default chosen by
    the number of items. Raises the errors of `eimf export`.

    >>> api.export(plain, folder / "bundle", labels=False)
    Bundle ... in .../bundle: gru4rec, 48 items
    """
    with call("export", progress):
        esim = trained.esim if labels else None
        return run_export(trained.data.store, trained.key, Path(output), esim=esim, labels=labels, index=index)
