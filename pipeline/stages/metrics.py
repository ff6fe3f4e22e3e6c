"""Stage 12: the metrics of a trained backbone."""

from typing import Any

from eimf import schema
from eimf.store.artifact import Staging
from pipeline.backends.device import prepare_torch
from pipeline.console import progress
from pipeline.stages.stage import Artifacts, Facts, Run


def metrics_configuration(run: Run) -> dict[str, Any]:
    return {"evaluate": run.recipe.evaluate.model_dump(mode="json")}


def build_metrics(run: Run, made: Artifacts, staging: Staging) -> Facts:
    device = prepare_torch(run.recipe.runtime)
    from eimf.evaluation.rank_users import mean_metric, metrics_table, rank_users, ranks_table
    from eimf.serving.recommend import load_backbone, read_trained
    from pipeline.stages.load import histories_of

    histories, settings = histories_of(made), run.recipe.evaluate
    backbone = load_backbone(made["checkpoint"], histories.num_items)
    max_length = read_trained(made["checkpoint"]).model.max_length
    with progress("ranking", len(histories.cases[schema.TEST]), "cases") as on_progress:
        ranking = rank_users(
            backbone.to(device), histories, schema.TEST, max_length=max_length, keep_seen=settings.keep_seen,
            block=run.recipe.runtime.eval_batch_size, cutoffs=settings.cutoffs, on_progress=on_progress,
        )  # fmt: skip
    staging.write_table("metrics", metrics_table(ranking, histories, settings.cutoffs))
    staging.write_table("ranks", ranks_table(ranking))
    return {f"{name}@10": round(mean_metric(ranking, name, 10), 5) for name in ("ndcg", "recall")}
