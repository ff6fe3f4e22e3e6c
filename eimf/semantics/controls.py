"""Controls: the same supervision without its meaning (METHOD, "is it the meaning?").

A control keeps the shapes and which clusters are supervised, and replaces the interest vectors. It also keeps the
number of interests of a cluster, except for `shuffled`, which gives each cluster all the interests of another one:
they keep their meaning, but belong to other users. `random` is unit noise, a different vector for each interest.
`cluster` is a code of the cluster, the same for all its interests: it says which users belong together, and nothing
else. The code is a random unit vector, because there may be more clusters than the text has dimensions. `titles` is the
mean text of what the cluster's typical user had within the prompt's reach: text and cluster stay, and the LLM is left
out.

Picks of next items (`smoothing.pick`) are replaced too, by as many items as the LLM picked for the cluster: `shuffled`
gives a cluster those of the same other cluster, `random` draws them from the catalogue, and `candidates` from those
that the LLM chose from: what co-occurrence says without the LLM. `candidates` leaves interests as they are.

Shapes: C clusters, M interests of a cluster, n candidates of a cluster, S text width.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from eimf.data.histories import Histories
from eimf.errors import SettingError
from eimf.semantics.supervision import Offered, Supervision
from eimf.semantics.text_vectors import mean_text_vectors

CONTROLS = ("shuffled", "random", "cluster", "titles")
"""Values of `heads.control` that replace interests."""


def apply_control(supervision: Supervision, control: str, histories: Histories, seed: int) -> Supervision:
    """The supervision itself (`llm`) or one of its controls, drawn by `seed`. Raises SettingError if there is nothing
    to shuffle."""
    generator = torch.Generator().manual_seed(seed)
    interests = supervision.interest_vectors
    if control == "shuffled":
        return _shuffled(supervision, generator)
    if control == "candidates":
        return replace(supervision, offered=_drawn(_offered_by(supervision), generator))
    if control == "random":
        vectors = F.normalize(torch.randn(interests.shape, generator=generator), dim=-1)
        supervision = _random_items(supervision, generator)
    elif control == "cluster":
        vectors = F.normalize(torch.randn(len(interests), 1, interests.shape[2], generator=generator), dim=-1)
    elif control == "titles":
        vectors = _mean_titles(supervision, histories).unsqueeze(1)
    else:
        return supervision
    return replace(supervision, interest_vectors=vectors * supervision.interest_mask.unsqueeze(-1))


def _offered_by(supervision: Supervision) -> Offered:
    if supervision.offered is None:
        raise SettingError("heads.control", "candidates, but the LLM was offered none", "set picks.enabled=true")
    return supervision.offered


def _drawn(offered: Offered, generator: torch.Generator) -> Offered:
    """As many picks of each cluster, drawn from what was offered."""
    chance = torch.rand(offered.rows.shape, generator=generator).masked_fill(offered.rows < 0, -1)
    place = chance.argsort(dim=1, descending=True).argsort(dim=1)
    return replace(offered, picked=place < offered.picked.sum(dim=1, keepdim=True))


def _random_items(supervision: Supervision, generator: torch.Generator) -> Supervision:
    """The same with any items in place of those offered."""
    if supervision.offered is None:
        return supervision
    rows = supervision.offered.rows
    drawn = torch.randint(len(supervision.item_text_vectors), rows.shape, generator=generator)
    return replace(supervision, offered=replace(supervision.offered, rows=torch.where(rows < 0, -1, drawn)))


def can_shuffle(supervision: Supervision) -> bool:
    """True if at least two clusters have interests."""
    return len(_clusters_with_interests(supervision)) > 1


def _clusters_with_interests(supervision: Supervision) -> Tensor:
    return supervision.interest_mask.any(dim=1).nonzero()[:, 0]


def _shuffled(supervision: Supervision, generator: torch.Generator) -> Supervision:
    """Each cluster with interests takes those of the next one in a random circle, so none keeps its own."""
    clusters = _clusters_with_interests(supervision)
    if not can_shuffle(supervision):
        problem = f"shuffled, but {len(clusters)} cluster has interests"
        raise SettingError("heads.control", problem, "raise cluster.count, or take another control")
    circle = clusters[torch.randperm(len(clusters), generator=generator)]
    source = torch.arange(len(supervision.interest_mask))
    source[circle] = circle.roll(1)
    return supervision.with_interests_of(source)


def _mean_titles(supervision: Supervision, histories: Histories) -> Tensor:
    """Mean text [C, S] of the events of each cluster's typical users, up to the last one that the LLM has read: all of
    them, although a prompt shows only the last `prompt.max_titles`."""
    last_prompted, cluster = supervision.last_prompted_position.numpy(), supervision.cluster.numpy()
    users = np.flatnonzero((last_prompted >= 0) & (cluster >= 0))
    row, event = histories.first_events(users, last_prompted[users] + 1)
    num_clusters = len(supervision.interest_mask)
    return mean_text_vectors(
        supervision.item_text_vectors, histories.item_idx[event], cluster[users][row], num_clusters
    )
