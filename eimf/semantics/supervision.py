"""What stage one gives the trainer: dense tensors, and which targets they may supervise.

Shapes: U users, N items, C clusters, M interests of a cluster, S text width, P target positions, E events.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from eimf import schema
from eimf.data.histories import Histories
from eimf.errors import ArtifactError

_BLOCK_EVENTS = 2**14
"""Events whose texts are held at a time."""


@dataclass(frozen=True)
class Offered:
    """The items that the LLM chose from, side by side: `rows` [C, n] of the item table, -1 if a cluster has fewer, and
    whether it `picked` each, [C, n]."""

    rows: Tensor
    picked: Tensor

    def of(self, source: Tensor) -> "Offered":
        """The same, but each cluster has what was offered to the cluster `source` [C]."""
        return Offered(self.rows[source], self.picked[source])

    def to(self, device: torch.device) -> "Offered":
        return Offered(self.rows.to(device), self.picked.to(device))


@dataclass(frozen=True)
class Supervision:
    """`item_text_vectors` [N, S] are x_i; `interest_vectors` [C, M, S] is Z, `interest_id` [C, M] names the LLM's
    interests (rows of the `interests` artifact), -1 if a cluster has fewer; `cluster` [U], -1 if the user has no
    training event, or the user's cluster no interests; `last_prompted_position` [U], the last position of a user's
    history that was in a prompt, -1 for most users. `further`: more vectors of the items, [N, .] each, by the name of
    their column: LEXICAL, KNOWLEDGE. `offered`: the items out of which the LLM picked next ones, if it did."""

    item_text_vectors: Tensor
    interest_vectors: Tensor
    interest_id: Tensor
    cluster: Tensor
    last_prompted_position: Tensor
    further: Mapping[str, Tensor] = field(default_factory=dict)
    offered: Offered | None = None

    @property
    def interest_mask(self) -> Tensor:
        """Which interests exist, [C, M]."""
        return self.interest_id >= 0

    def clusters_for(self, user: Tensor, position: Tensor) -> Tensor:
        """The cluster that may supervise each target [P], or -1. What the LLM said about a user does not supervise an
        event of the same user that was in the prompt (METHOD, fault 7)."""
        was_prompted = position <= self.last_prompted_position[user]
        return torch.where(was_prompted, -1, self.cluster[user])

    def with_interests_of(self, source: Tensor) -> "Supervision":
        """The same, but each cluster has the interests and picks of the cluster `source` [C]."""
        vectors, ids = self.interest_vectors[source], self.interest_id[source]
        offered = None if self.offered is None else self.offered.of(source)
        return replace(self, interest_vectors=vectors, interest_id=ids, offered=offered)

    def to(self, device: torch.device) -> "Supervision":
        """On this device, without `further`: no step of a training reads that."""
        return Supervision(
            item_text_vectors=self.item_text_vectors.to(device),
            interest_vectors=self.interest_vectors.to(device),
            interest_id=self.interest_id.to(device),
            cluster=self.cluster.to(device),
            last_prompted_position=self.last_prompted_position.to(device),
            offered=None if self.offered is None else self.offered.to(device),
        )


def nearest_interests(supervision: Supervision, histories: Histories) -> Tensor:
    """For every event, which of the C * M interests may supervise it: of the user's cluster, the one nearest to the
    event's item. -1 if there is none, and for held-out events: [E] int32."""
    nearest = torch.full((len(histories.item_idx),), -1, dtype=torch.int32)
    for users, user_row, event in histories.training_blocks():
        for start in range(0, len(event), _BLOCK_EVENTS):
            block = slice(start, start + _BLOCK_EVENTS)
            nearest[event[block]] = _nearest(supervision, histories, users.start + user_row[block], event[block])
    return nearest


def _nearest(supervision: Supervision, histories: Histories, user_idx: np.ndarray, event: np.ndarray) -> Tensor:
    """The same for some training events [S] of these users [S], int32."""
    user, position = torch.from_numpy(user_idx), torch.from_numpy(event - histories.offsets[user_idx])
    cluster = supervision.clusters_for(user, position)
    row = cluster.clamp(min=0)
    item_row = torch.from_numpy(histories.item_idx[event].astype(np.int64)) - 1
    interests = supervision.interest_vectors.index_select(0, row)  # [S, M, .]
    text = supervision.item_text_vectors.index_select(0, item_row)
    match = torch.bmm(interests, text.unsqueeze(2)).squeeze(2)  # [S, M]
    best = match.masked_fill(~supervision.interest_mask[row], -torch.inf).argmax(dim=1)
    return torch.where(cluster >= 0, row * interests.shape[1] + best, -1).int()


def clusters_with_picks(supervision: Supervision, histories: Histories) -> Tensor:
    """For every event, the cluster whose picks may supervise it, or -1: [E] int32. A user in a cluster without
    interests has none."""
    clusters = torch.full((len(histories.item_idx),), -1, dtype=torch.int32)
    if supervision.offered is None:
        return clusters
    has_picks = supervision.offered.picked.any(dim=1)
    for users, user_row, event in histories.training_blocks():
        user_idx = users.start + user_row
        user, position = torch.from_numpy(user_idx), torch.from_numpy(event - histories.offsets[user_idx])
        cluster = supervision.clusters_for(user, position)
        clusters[event] = torch.where(has_picks[cluster.clamp(min=0)], cluster, -1).int()
    return clusters


def read_supervision(
    item_vectors: pa.Table, users: pa.Table, interests: pa.Table, histories: Histories, picks: pa.Table | None = None
) -> Supervision:
    """From the table of an `item_vectors` artifact and the two or three of an `esim` artifact. Raises ArtifactError if
    they do not fit the dataset's histories, or if the LLM has read an event that is to be validated or tested on."""
    width = schema.width_of(item_vectors)
    schema.checked(item_vectors, schema.item_vectors(width))
    schema.checked(users, schema.ESIM_USERS)
    schema.checked(interests, schema.esim_interests(width), (schema.INTEREST_ID, schema.CLUSTER, schema.VECTOR))
    _check_items(item_vectors, histories)
    _check_users(users, histories)
    vectors, ids = _dense_interests(interests, users, width)
    cluster = users[schema.CLUSTER].to_numpy().astype(np.int64)
    has_interests = np.append((ids >= 0).any(axis=1), False)  # the last one for users in no cluster
    return Supervision(
        item_text_vectors=torch.tensor(schema.vectors_of(item_vectors)),
        interest_vectors=torch.from_numpy(vectors),
        interest_id=torch.from_numpy(ids),
        cluster=torch.from_numpy(np.where(has_interests[cluster], cluster, -1)),
        last_prompted_position=torch.from_numpy(users[schema.LAST_PROMPTED_POSITION].to_numpy().astype(np.int64)),
        further=_further(item_vectors),
        offered=None if picks is None else _read_offered(picks, len(ids), histories.num_items),
    )


def _read_offered(picks: pa.Table, num_clusters: int, num_items: int) -> Offered:
    """From the table `picks` of an `esim` artifact. Raises ArtifactError."""
    schema.checked(picks, schema.PICKS)
    cluster, number, item = (picks[name].to_numpy() for name in (schema.CLUSTER, schema.NUMBER, schema.ITEM))
    place = np.arange(len(cluster)) - np.searchsorted(cluster, cluster)
    if (
        not len(cluster)
        or not 0 <= cluster.min() <= cluster.max() < num_clusters
        or (np.diff(cluster) < 0).any()
        or (number != place + 1).any()
        or not 1 <= item.min() <= item.max() <= num_items
    ):
        problem = f"picks are not sorted by cluster and number, or not of {num_clusters} clusters and {num_items} items"
        raise ArtifactError("esim", problem, schema.REBUILD)
    shape = (num_clusters, int(number.max()))
    rows, picked = np.full(shape, -1, np.int64), np.zeros(shape, bool)
    rows[cluster, place] = item - 1
    picked[cluster, place] = picks[schema.PICKED].to_numpy(zero_copy_only=False)
    return Offered(torch.from_numpy(rows), torch.from_numpy(picked))


def text_only_supervision(item_vectors: pa.Table, histories: Histories) -> Supervision:
    """From the table of an `item_vectors` artifact: the items' texts, and no supervised user. Raises ArtifactError if
    it does not fit the dataset's histories."""
    schema.checked(item_vectors, schema.item_vectors(schema.width_of(item_vectors)))
    _check_items(item_vectors, histories)
    item_text_vectors = torch.tensor(schema.vectors_of(item_vectors))
    no_user = torch.full((histories.num_users,), -1)
    return Supervision(
        item_text_vectors=item_text_vectors,
        interest_vectors=item_text_vectors.new_zeros(1, 1, item_text_vectors.shape[1]),
        interest_id=torch.full((1, 1), -1),
        cluster=no_user,
        last_prompted_position=no_user,
        further=_further(item_vectors),
    )


def _further(item_vectors: pa.Table) -> dict[str, Tensor]:
    """The vectors of an `item_vectors` artifact that not every one has."""
    names = [name for name in (schema.LEXICAL, schema.KNOWLEDGE) if name in item_vectors.column_names]
    widths = {name: schema.width_of(item_vectors, name) for name in names}
    schema.checked(item_vectors, schema.item_vectors(schema.width_of(item_vectors), **widths))
    return {name: torch.tensor(schema.vectors_of(item_vectors, name)) for name in names}


def _check_items(item_vectors: pa.Table, histories: Histories) -> None:
    if item_vectors.num_rows != histories.num_items:
        problem = f"{item_vectors.num_rows} items, but the dataset has {histories.num_items}"
        raise ArtifactError("item_vectors", problem, "give the item_vectors artifact that was built from this dataset")


def _check_users(users: pa.Table, histories: Histories) -> None:
    if users.num_rows != histories.num_users:
        problem = f"{users.num_rows} users, but the dataset has {histories.num_users}"
        raise ArtifactError("esim", problem, "give the esim artifact that was built from this dataset")
    last_prompted = users[schema.LAST_PROMPTED_POSITION].to_numpy()
    if (late := last_prompted >= histories.num_train).any():
        user = int(late.argmax())
        problem = f"the LLM has read position {last_prompted[user]} of user_idx {user}, which is to be predicted"
        raise ArtifactError("esim", problem, "build it again from training events only")


def _dense_interests(interests: pa.Table, users: pa.Table, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The interests of each cluster side by side, in the order of the table: vectors [C, M, S] and ids [C, M]."""
    cluster, cluster_of_user = interests[schema.CLUSTER].to_numpy(), users[schema.CLUSTER].to_numpy()
    if cluster_of_user.min() < -1 or not 0 <= cluster_of_user.max() < len(cluster_of_user):
        problem = f"clusters {cluster_of_user.min()} to {cluster_of_user.max()} of {len(cluster_of_user)} users"
        raise ArtifactError("esim", problem, schema.REBUILD)
    slot = np.arange(len(cluster)) - np.searchsorted(cluster, cluster)  # 0, 1, ... within each cluster
    interest_id = interests[schema.INTEREST_ID].to_numpy()
    if (
        (np.diff(cluster, prepend=0) < 0).any()
        or slot.max(initial=0) >= schema.MOST_INTERESTS
        or not np.isin(cluster, cluster_of_user).all()
    ):
        most = schema.MOST_INTERESTS
        problem = f"interests are not sorted by cluster, of clusters without users, or more than {most} of one"
        raise ArtifactError("esim", problem, schema.REBUILD)
    if interest_id.min(initial=0) < 0:
        raise ArtifactError("esim", f"interest_id {interest_id.min()}", schema.REBUILD)
    shape = (int(cluster_of_user.max()) + 1, int(slot.max(initial=0)) + 1)
    vectors, ids = np.zeros((*shape, width), np.float32), np.full(shape, -1, np.int64)
    vectors[cluster, slot], ids[cluster, slot] = schema.vectors_of(interests), interest_id
    return vectors, ids
