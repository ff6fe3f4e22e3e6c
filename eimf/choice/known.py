"""The sources that a data set, its texts and a trained model make, and their shuffled controls.

Shapes: C cases, N items, K interests of a model, R coordinates, S text width.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from eimf.backbones.base import Backbone
from eimf.choice.cases import Choices
from eimf.choice.item_statistics import item_scores
from eimf.choice.sources import (
    ItemSource,
    PairSource,
    PersonSource,
    Source,
    centered,
    item_order,
    pair_source,
    similarity_source,
)
from eimf.config import ComparisonSettings
from eimf.data.cooccurrence import count_cooccurrence
from eimf.data.cooccurrence_factors import factorize
from eimf.data.histories import Histories
from eimf.semantics.controls import CONTROLS, apply_control, can_shuffle
from eimf.semantics.people import people_of
from eimf.semantics.supervision import Supervision
from eimf.semantics.text_space import compared_items, compared_vectors, in_encoder_space

POPULARITY, LIFECYCLE, COOCCURRENCE, TEXT, KNOWLEDGE, INTERESTS, MODEL = (
    "popularity",
    "lifecycle",
    "cooccurrence",
    "text",
    "knowledge",
    "interests",
    "model",
)
SEED = 2026
"""Of the shuffled controls."""
_BATCH = 256


@dataclass(frozen=True)
class Sources:
    """Sources in their order, and the controls of each by its name."""

    sources: list[Source] = field(default_factory=list)
    controls: dict[str, list[Source]] = field(default_factory=dict)

    def add(self, source: Source, *controls: Source) -> None:
        self.sources.append(source)
        self.controls[source.name] = list(controls)


def item_sources(histories: Histories) -> dict[str, ItemSource]:
    """How popular an item is, among all and among the last events; and where in histories it stands."""
    recent, popular, late = item_scores(histories).T
    return {
        POPULARITY: ItemSource(POPULARITY, np.stack([popular, recent])),
        LIFECYCLE: ItemSource(LIFECYCLE, late[None]),
    }


def exact_sources(histories: Histories, supervision: Supervision | None, choices: Choices) -> Sources:
    """Popularity, life cycle, co-occurrence and, with texts, their cosines: in full, for the signal check."""
    order, found = item_order(histories.num_items, SEED), Sources()
    for source in item_sources(histories).values():
        found.add(source, source.shuffled(order))
    similarity = count_cooccurrence(histories)
    found.add(
        similarity_source(COOCCURRENCE, similarity, choices),
        similarity_source(f"{COOCCURRENCE}, shuffled", similarity, choices, order),
    )
    if supervision is not None:
        space = ComparisonSettings(compare="whitened")
        shuffled = text_source(supervision, choices, space, f"{TEXT}, shuffled", order)
        found.add(text_source(supervision, choices, space), shuffled)
    return found


def text_source(
    supervision: Supervision,
    choices: Choices,
    texts: ComparisonSettings,
    name: str = TEXT,
    order: np.ndarray | None = None,
) -> PairSource:
    """Cosines of the items' texts, as `texts` says; with an `order` [N] the control."""
    vectors = compared_items(supervision, texts).numpy()
    return pair_source(name, vectors, vectors, choices, order)


def vector_source(name: str, vectors: np.ndarray, choices: Choices) -> tuple[PairSource, PairSource]:
    """Whitened cosines of any `vectors` [N, S] of the items, and their shuffled control. An item whose vector is 0 has
    nothing to say."""
    placed = compared_vectors(torch.from_numpy(vectors), ComparisonSettings(compare="whitened")).numpy()
    order = item_order(len(vectors), SEED)
    shuffled = pair_source(f"{name}, shuffled", placed, placed, choices, order)
    return pair_source(name, placed, placed, choices), shuffled


def interest_sources(supervision: Supervision, histories: Histories, choices: Choices) -> Sources:
    """The LLM's interests of the cluster of each person, in the whitened space of the encoder. Their controls are the
    interests of another cluster, and what clusters say without the LLM: the typical user's titles, a code, noise."""
    people = people_of(supervision, histories, choices.user_idx, choices.history_end)
    space = ComparisonSettings(compare="whitened")

    def source(name: str, control: str) -> PersonSource:
        of_control = in_encoder_space(apply_control(supervision, control, histories, SEED), space)
        return centered(_of_clusters(name, of_control, people.cluster), choices)

    names = [name for name in CONTROLS if name != "shuffled" or can_shuffle(supervision)]
    found = Sources()
    found.add(source(INTERESTS, "llm"), *(source(f"{INTERESTS}, {name}", name) for name in names))
    return found


def _of_clusters(name: str, supervision: Supervision, cluster: Tensor) -> PersonSource:
    row = cluster.clamp(min=0)
    mask = supervision.interest_mask[row] & (cluster >= 0).unsqueeze(1)
    items = supervision.item_text_vectors.numpy()
    return PersonSource(name, supervision.interest_vectors[row].numpy(), items, mask.numpy())


@torch.no_grad()
def model_source(backbone: Backbone, choices: Choices, name: str = MODEL) -> PersonSource:
    """The score of a trained model, max_k <V_k, e_j>."""
    backbone.eval()
    encode = backbone.inference_fn(int(choices.length.sum()))
    device, parts = backbone.item_table.weight.device, []
    for start in range(0, len(choices), _BATCH):
        block = slice(start, start + _BATCH)
        items, length = (torch.from_numpy(values[block]) for values in (choices.window, choices.length))
        items = items[:, : int(length.max())]
        times = None
        if backbone.uses_timestamps and choices.times is not None:
            times = torch.from_numpy(choices.times[block][:, : items.shape[1]]).double().to(device)
        parts.append(encode(items.to(device), length.to(device), times).float().cpu())
    return PersonSource(name, torch.cat(parts).numpy(), backbone.item_vectors.float().cpu().numpy())


def text_or_interests(
    name: str, supervision: Supervision, histories: Histories, choices: Choices, rank: int
) -> PairSource:
    """The source of this name in `rank` coordinates, as a model can be served with it. Raises SettingError if the items
    lack such vectors."""
    if name == INTERESTS:
        return factored_interests(supervision, histories, choices, rank)
    block = "encoder" if name == TEXT else name
    texts = ComparisonSettings(compare="whitened", use=(block,), components=rank)
    return text_source(supervision, choices, texts, name)


def factored_controls(
    name: str, supervision: Supervision, histories: Histories, choices: Choices, rank: int
) -> list[PairSource]:
    """The controls of what an LLM said, of the same form: of the interests those of another cluster, and the titles of
    the cluster's typical user, without an LLM; of the knowledge about an item that about another one. No other source
    has any."""
    if name == KNOWLEDGE:
        texts = ComparisonSettings(compare="whitened", use=(KNOWLEDGE,), components=rank)
        order = item_order(histories.num_items, SEED)
        return [text_source(supervision, choices, texts, f"{name}, shuffled", order)]
    if name != INTERESTS:
        return []
    return [
        factored_interests(
            apply_control(supervision, control, histories, SEED), histories, choices, rank, f"{name}, {control}"
        )
        for control in ("titles", *(["shuffled"] if can_shuffle(supervision) else []))
    ]


def factored_cooccurrence(histories: Histories, choices: Choices, rank: int) -> PairSource:
    """Co-occurrence by `rank` coordinates, as a model can be served with it."""
    vectors = factorize(count_cooccurrence(histories), rank)
    return pair_source(COOCCURRENCE, vectors, vectors, choices)


def factored_interests(
    supervision: Supervision, histories: Histories, choices: Choices, rank: int, name: str = INTERESTS
) -> PairSource:
    """The interests as a source that needs no cluster at serving: f(h) is the mean interest vector of the clusters of
    the training users who had the item h, g(j) the text of item j; both in `rank` whitened components."""
    space = in_encoder_space(supervision, ComparisonSettings(compare="whitened", components=rank))
    mask = space.interest_mask.float().unsqueeze(2)
    of_cluster = (space.interest_vectors * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)  # [C, R]
    total = torch.zeros(histories.num_items, of_cluster.shape[1])
    count = torch.zeros(histories.num_items)
    for users, user_row, event in histories.training_blocks():
        user = torch.from_numpy(users.start + user_row)
        position = torch.from_numpy(event) - torch.from_numpy(histories.offsets)[user]
        cluster = space.clusters_for(user, position)
        row = torch.from_numpy(histories.item_idx[event].astype(np.int64) - 1)[cluster >= 0]
        total.index_add_(0, row, of_cluster[cluster[cluster >= 0]])
        count.index_add_(0, row, torch.ones(len(row)))
    history = total / count.clamp(min=1).unsqueeze(1)
    return pair_source(name, history.numpy(), space.item_text_vectors.numpy(), choices)
