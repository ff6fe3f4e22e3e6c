"""Stage 9: the ESIM artifact, all that stage two needs of texts and interests."""

from eimf import schema
from eimf.store.artifact import Staging
from pipeline.stages.stage import Artifacts, Stage, Summary

_PARENTS = ("dataset", "item_vectors", "clusters", "typical_users", "requests", "interest_vectors")


def esim_stage() -> Stage:
    """Stage 9."""
    return Stage(9, "esim", 2, _PARENTS, {}, _build_esim)


def _build_esim(artifacts: Artifacts, staging: Staging) -> Summary:
    from eimf.esim.assemble import esim_interests, esim_users

    typical = artifacts["typical_users"].table("typical_users")
    interests = esim_interests(typical, artifacts["interest_vectors"].table("vectors"))
    users = esim_users(artifacts["clusters"].table("clusters"), artifacts["requests"].table("requests"))
    items = artifacts["item_vectors"].table("vectors")
    staging.write_table("items", items)
    staging.write_table("users", users)
    staging.write_table("interests", interests)
    with_interests = len(interests[schema.CLUSTER].unique())
    return {
        "users": users.num_rows,
        "clusters": typical.num_rows,
        "with_interests": with_interests,
        "interests": interests.num_rows,
    }
