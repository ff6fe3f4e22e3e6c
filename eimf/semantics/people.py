"""People whose next items are known: the text of each one's history, and the cluster whose interests are theirs.

Shapes: V people, C clusters, S text width.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from eimf.data.histories import Histories
from eimf.retrieval import nearest_rows
from eimf.semantics.supervision import Supervision
from eimf.semantics.text_vectors import mean_text_vectors, user_text_blocks


@dataclass(frozen=True)
class People:
    """Users `user_idx` [V], each after the first `history_end` [V] events; `texts` [V, S], the mean text of these; and
    the `cluster` [V] of each, -1 without one."""

    user_idx: np.ndarray
    history_end: np.ndarray
    texts: Tensor
    cluster: Tensor


def people_of(supervision: Supervision, histories: Histories, user_idx: np.ndarray, history_end: np.ndarray) -> People:
    """The people of some cases. A user with training events is in a cluster already; for any other one it is the
    nearest, by the history, of those with interests."""
    person, event = histories.first_events(user_idx, history_end)
    texts = mean_text_vectors(supervision.item_text_vectors, histories.item_idx[event], person, len(user_idx))
    cluster = supervision.cluster[user_idx]
    new = torch.from_numpy(np.flatnonzero(histories.num_train[user_idx] == 0))
    if len(new) and (supervision.cluster >= 0).any():
        numbers, centroids = _centroids(supervision, histories)
        cluster[new] = numbers[nearest_rows(texts[new], centroids, 1)[0][:, 0]]
    return People(user_idx, history_end, texts, cluster)


def _centroids(supervision: Supervision, histories: Histories) -> tuple[Tensor, Tensor]:
    """The numbers of the clusters with interests, and the mean direction [., S] of their users' training histories."""
    item_texts = supervision.item_text_vectors
    sums = item_texts.new_zeros(len(supervision.interest_mask), item_texts.shape[1])
    for users, texts in user_text_blocks(item_texts, histories):
        cluster = supervision.cluster[users.start : users.stop]
        sums.index_add_(0, cluster[cluster >= 0], texts[cluster >= 0])
    numbers = supervision.cluster[supervision.cluster >= 0].unique()
    return numbers, F.normalize(sums[numbers], dim=1)
