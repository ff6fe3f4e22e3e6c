"""Stage 12: the metrics of a trained backbone, or of a calibrated one."""

from functools import partial

from eimf import schema
from eimf.config import RuntimeSettings
from eimf.store.artifact import Staging
from pipeline.backends.device import prepare_torch
from pipeline.console import progress
from pipeline.stages.stage import Artifacts, Stage, Summary
from pipeline.trained import CHECKPOINT


def metrics_stage(cutoffs: tuple[int, ...], keep_seen: bool, runtime: RuntimeSettings, of: str = CHECKPOINT) -> Stage:
    """Stage 12: ranks of the test items, and their metrics, by the artifact of the kind `of`."""
    configuration = {"evaluate": {"cutoffs": list(cutoffs), "keep_seen": keep_seen}}
    build = partial(_build_metrics, cutoffs, keep_seen, runtime, of)
    return Stage(12, "metrics", 3, ("dataset", of), configuration, build)


def _build_metrics(
    cutoffs: tuple[int, ...], keep_seen: bool, runtime: RuntimeSettings, of: str, artifacts: Artifacts, staging: Staging
) -> Summary:
    device = prepare_torch(runtime)
    from eimf.evaluation.rank_users import mean_metric, metrics_table, rank_users, ranks_table
    from pipeline.serving import load_backbone
    from pipeline.stages.load import histories_of

    histories = histories_of(artifacts)
    trained, backbone = load_backbone(artifacts[of], histories.num_items)
    with progress("ranking", len(histories.cases[schema.TEST]), "cases") as on_progress:
        ranking = rank_users(
            backbone.to(device),
            histories,
            schema.TEST,
            max_length=trained.model.max_length,
            keep_seen=keep_seen,
            batch_size=runtime.eval_batch_size,
            cutoffs=cutoffs,
            on_progress=on_progress,
        )
    staging.write_table("metrics", metrics_table(ranking, histories, cutoffs))
    staging.write_table("ranks", ranks_table(ranking))
    return {f"{name}@10": round(mean_metric(ranking, name, 10), 5) for name in ("ndcg", "recall")}
