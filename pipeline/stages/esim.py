"""Stage 9: the ESIM artifact, and the list of stages 1 to 9.

Heavy libraries are imported inside the build functions on purpose: if every stage is a hit, none is loaded.
"""

from typing import TYPE_CHECKING, Any

from eimf import schema
from eimf.store.artifact import Staging
from pipeline.stages.dataset import build_dataset, dataset_configuration
from pipeline.stages.interests import (
    build_interests,
    build_requests,
    interests_configuration,
    requests_configuration,
)
from pipeline.stages.stage import Artifacts, Facts, Run, Stage
from pipeline.stages.texts import build_interest_vectors, build_item_vectors, encoder_configuration
from pipeline.stages.users import (
    build_clusters,
    build_typical_users,
    build_user_vectors,
    cluster_configuration,
    typical_configuration,
)

if TYPE_CHECKING:
    pass


def _nothing(run: Run) -> dict[str, Any]:
    return {}


def _build_esim(run: Run, made: Artifacts, staging: Staging) -> Facts:
    from eimf.esim.assemble import esim_interests, esim_users

    typical = made["typical_users"].table("typical_users")
    interests = esim_interests(typical, made["interest_vectors"].table("vectors"))
    users = esim_users(made["clusters"].table("clusters"), made["requests"].table("requests"))
    items = made["item_vectors"].table("vectors")
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


STAGES = (
    Stage(1, "dataset", 3, (), dataset_configuration, build_dataset),
    Stage(2, "item_vectors", 1, ("dataset",), encoder_configuration, build_item_vectors),
    Stage(3, "user_vectors", 2, ("dataset", "item_vectors"), _nothing, build_user_vectors),
    Stage(4, "clusters", 2, ("user_vectors",), cluster_configuration, build_clusters),
    Stage(5, "typical_users", 1, ("dataset", "clusters"), typical_configuration, build_typical_users),
    Stage(6, "requests", 2, ("dataset", "typical_users"), requests_configuration, build_requests),
    Stage(7, "interests", 2, ("requests",), interests_configuration, build_interests),
    Stage(8, "interest_vectors", 1, ("interests",), encoder_configuration, build_interest_vectors),
    Stage(
        9,
        "esim",
        1,
        ("dataset", "item_vectors", "clusters", "typical_users", "requests", "interest_vectors"),
        _nothing,
        _build_esim,
    ),
)
