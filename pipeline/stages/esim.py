"""Stage 9: the ESIM artifact, all that stage two needs of users and interests."""

from typing import TYPE_CHECKING

from eimf import schema
from eimf.store.artifact import Staging
from eimf.store.manifest import EXTENDED
from pipeline.stages.stage import Artifacts, Stage, Summary

if TYPE_CHECKING:
    import numpy as np

_PARENTS = ("dataset", "item_vectors", "clusters", "requests", "interests", "interest_vectors")
"""`item_vectors` too: stage two reads the vectors of the items from there, so this one does not repeat them."""
_SEED = 2026
"""Of the shuffled pairing that the grounding is compared with."""


def esim_stage(*, with_picks: bool = False, extends: bool = False) -> Stage:
    """Stage 9; with the table `picks` if stage 7a is enabled. An artifact that it `extends` is one of its parents."""
    parents = (*_PARENTS, *(["picks"] if with_picks else []), *([f"{EXTENDED}esim"] if extends else []))
    return Stage(9, "esim", 3, parents, {}, _build_esim)


def _build_esim(artifacts: Artifacts, staging: Staging) -> Summary:
    from eimf.esim.assemble import esim_interests, esim_users
    from eimf.esim.grounding import read_grounding
    from pipeline.stages.load import histories_of

    clusters = artifacts["clusters"].table("clusters")
    histories = histories_of(artifacts)
    prompts = [artifacts[kind].table("requests") for kind in ("requests", "picks") if kind in artifacts]
    users = esim_users(clusters, prompts, histories.num_train)
    last_prompted = users[schema.LAST_PROMPTED_POSITION].to_numpy()
    texts, vectors = artifacts["interests"].table("interests"), artifacts["interest_vectors"].table("vectors")
    grounding = read_grounding(artifacts["item_vectors"].table("vectors"), texts, vectors, _SEED)
    interests = esim_interests(clusters, texts, vectors, grounding.of_interest)
    staging.write_table("users", users)
    staging.write_table("interests", interests)
    summary = {
        "users": users.num_rows,
        "held_out_users": int((histories.num_train == 0).sum()),
        "prompted_users": int((last_prompted >= 0).sum()),
        "prompted_held_out_events": int((last_prompted >= histories.num_train).sum()),
        "clusters": int(users[schema.CLUSTER].to_numpy().max()) + 1,
        "with_interests": len(interests[schema.CLUSTER].unique()),
        "interests": interests.num_rows,
        "distinct": len(texts[schema.INTEREST].unique()),
        "grounding": _mean(grounding.of_interest),
        "shuffled": _mean(grounding.shuffled),
    }
    if "picks" in artifacts:
        picks = artifacts["picks"].table("picks")
        staging.write_table("picks", picks)
        summary["picks"] = int(picks[schema.PICKED].to_numpy(zero_copy_only=False).sum())
    return summary


def _mean(values: "np.ndarray") -> float:
    """To four digits; 0 if no interest has evidence."""
    import numpy as np

    known = values[~np.isnan(values)]
    return round(float(known.mean()), 4) if len(known) else 0.0
