"""What stage one gives the trainer: dense tensors, and which targets they may supervise.

Shapes: U users, N items, C clusters, M interests of a cluster, S text width.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from eimf import schema
from eimf.data.histories import Histories
from eimf.errors import ArtifactError

_EVENTS = 2**14
"""Events looked at together: their texts are never all held at once."""
_INTERESTS = 256
"""The largest `llm.max_interests`."""


@dataclass(frozen=True)
class Supervision:
    """`item_text` [N, S]; `semantics` [C, M, S] with `present` [C, M]; `cluster` [U], -1 where a cluster has no
    interests; `last_read` [U], the last position of a user's history that the LLM has read, -1 for most users."""

    item_text: Tensor
    semantics: Tensor
    present: Tensor
    cluster: Tensor
    last_read: Tensor

    def clusters_for(self, user: Tensor, position: Tensor) -> Tensor:
        """Cluster that may supervise each target [P], or -1. The LLM's answer about a user is no supervision for
        an event of the same user that was in the prompt (METHOD, fault 7)."""
        read = position <= self.last_read[user]
        return torch.where(read, -1, self.cluster[user])

    def to(self, device: torch.device) -> "Supervision":
        return Supervision(
            *(
                value.to(device)
                for value in (self.item_text, self.semantics, self.present, self.cluster, self.last_read)
            )
        )


def nearest_interests(supervision: Supervision, histories: Histories) -> Tensor:
    """Of every event, the one of the C * M interests that may supervise it: of the user's cluster, the one nearest to
    the event's item. -1 where there is none, and for events that are held out: [E]."""
    user, event = histories.training_events()
    found = torch.full((len(histories.item_idx),), -1)
    for start in range(0, len(event), _EVENTS):
        part = slice(start, start + _EVENTS)
        who, at = torch.from_numpy(user[part]), torch.from_numpy(event[part])
        cluster = supervision.clusters_for(who, at - torch.from_numpy(histories.offsets)[who])
        row = cluster.clamp(min=0)
        item = torch.from_numpy(histories.item_idx[event[part]])
        told, text = supervision.semantics.index_select(0, row), supervision.item_text.index_select(0, item - 1)
        match = torch.bmm(told, text.unsqueeze(2)).squeeze(2)  # [., M]
        best = match.masked_fill(~supervision.present[row], -torch.inf).argmax(dim=1)
        found[at] = torch.where(cluster >= 0, row * told.shape[1] + best, -1)
    return found


def read_supervision(items: pa.Table, users: pa.Table, interests: pa.Table, histories: Histories) -> Supervision:
    """From the table `items` of an `item_vectors` artifact and the two tables of the `esim` artifact that was made from
    it. Raises ArtifactError if they do not fit the dataset's histories, or if the LLM has read an event that is to be
    validated or tested on."""
    width = schema.width_of(items)
    schema.checked(items, schema.item_vectors(width))
    schema.checked(users, schema.ESIM_USERS)
    schema.checked(interests, schema.esim_interests(width))
    _check(items, users, histories)
    last_read = users[schema.LAST_PROMPTED_POSITION].to_numpy()
    semantics, present = _dense_interests(interests, users, width)
    cluster = users[schema.CLUSTER].to_numpy().astype(np.int64)
    return Supervision(
        item_text=torch.tensor(schema.vectors_of(items)),
        semantics=torch.from_numpy(semantics),
        present=torch.from_numpy(present),
        cluster=torch.from_numpy(np.where(present[cluster].any(axis=1), cluster, -1)),
        last_read=torch.from_numpy(last_read.astype(np.int64)),
    )


def text_alone(items: pa.Table, histories: Histories) -> Supervision:
    """From the table of an `item_vectors` artifact: the items' texts, and no user under supervision. Raises
    ArtifactError where it does not fit the dataset's histories."""
    schema.checked(items, schema.item_vectors(schema.width_of(items)))
    _check_items("item_vectors", items, histories)
    item_text = torch.tensor(schema.vectors_of(items))
    nobody = torch.full((histories.num_users,), -1)
    return Supervision(
        item_text=item_text,
        semantics=item_text.new_zeros(1, 1, item_text.shape[1]),
        present=torch.zeros(1, 1, dtype=torch.bool),
        cluster=nobody,
        last_read=nobody,
    )


def _check_items(kind: str, items: pa.Table, histories: Histories) -> None:
    if items.num_rows != histories.num_items:
        found = f"{items.num_rows} items, the dataset has {histories.num_items}"
        raise ArtifactError(kind, found, f"give the {kind} artifact that was made from this dataset")


def _check(items: pa.Table, users: pa.Table, histories: Histories) -> None:
    _check_items("item_vectors", items, histories)
    if users.num_rows != histories.num_users:
        found = f"{users.num_rows} users, the dataset has {histories.num_users}"
        raise ArtifactError("esim", found, "give the esim artifact that was made from this dataset")
    late = users[schema.LAST_PROMPTED_POSITION].to_numpy() >= histories.num_train
    if late.any():
        user = int(np.flatnonzero(late)[0])
        found = (
            f"the LLM has read position {users[schema.LAST_PROMPTED_POSITION][user]} of user_idx {user}, "
            "which is to be predicted"
        )
        raise ArtifactError("esim", found, "build it again from training events only")


def _dense_interests(interests: pa.Table, users: pa.Table, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Z [C, M, S] with the interests of each cluster in the order of the table, and where there is one [C, M]."""
    cluster, of_user = interests[schema.CLUSTER].to_numpy(), users[schema.CLUSTER].to_numpy()
    if of_user.min() < 0 or of_user.max() >= len(of_user):
        problem = f"clusters {of_user.min()} to {of_user.max()} of {len(of_user)} users"
        raise ArtifactError("esim", problem, schema.REBUILD)
    number = np.arange(len(cluster)) - np.searchsorted(cluster, cluster)  # 0, 1, ... within each cluster
    if (np.diff(cluster) < 0).any() or number.max(initial=0) >= _INTERESTS or not np.isin(cluster, of_user).all():
        problem = f"interests are not sorted by cluster, of clusters without users, or more than {_INTERESTS} of one"
        raise ArtifactError("esim", problem, schema.REBUILD)
    shape = (int(of_user.max()) + 1, int(number.max(initial=0)) + 1)
    semantics, present = np.zeros((*shape, width), np.float32), np.zeros(shape, bool)
    semantics[cluster, number], present[cluster, number] = schema.vectors_of(interests), True
    return semantics, present
