"""Stage 9: the ESIM artifact, all that stage two needs of users and interests."""

from eimf import schema
from eimf.store.artifact import Staging
from pipeline.stages.stage import Artifacts, Stage, Summary

_PARENTS = ("dataset", "item_vectors", "clusters", "requests", "interests", "interest_vectors")
"""`item_vectors` too: stage two reads the vectors of the items from there, so this one does not repeat them."""


def esim_stage() -> Stage:
    """Stage 9."""
    return Stage(9, "esim", 2, _PARENTS, {}, _build_esim)


def _build_esim(artifacts: Artifacts, staging: Staging) -> Summary:
    from eimf.esim.assemble import esim_interests, esim_users

    clusters = artifacts["clusters"].table("clusters")
    users = esim_users(clusters, artifacts["requests"].table("requests"))
    vectors = artifacts["interest_vectors"].table("vectors")
    interests = esim_interests(clusters, artifacts["interests"].table("interests"), vectors)
    staging.write_table("users", users)
    staging.write_table("interests", interests)
    return {
        "users": users.num_rows,
        "clusters": len(users[schema.CLUSTER].unique()),
        "with_interests": len(interests[schema.CLUSTER].unique()),
        "interests": interests.num_rows,
    }
