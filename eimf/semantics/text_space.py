"""The space in which texts are compared: the encoder's own, or one without what all texts have in common.

Our decision. Vectors of one encoder lie in a cone: two random titles of a catalogue have a cosine far above 0, and a
few directions that most titles share decide it. `centered` takes the mean of the items away; `whitened` also gives each
principal component the same variance, so that rare differences count as much as common ones. Both are fitted on the
items, and applied to interests as they are.

Items may have further vectors: of their words (`lexical`), of what an LLM knows about them (`knowledge`). Each block is
centered or whitened by itself and normalised; side by side they make one vector, so a cosine is the mean of the blocks'
cosines. Interests have only an encoder's vector: they are compared with that block alone.

Shapes: N items, C clusters, M interests of a cluster, S width of a block, F components, W width of all blocks.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from eimf import schema
from eimf.config import ComparisonSettings
from eimf.errors import SettingError
from eimf.semantics.item_text import whiten, whitening
from eimf.semantics.supervision import Supervision

_TURN_ON = {
    schema.LEXICAL: "set encoder.lexical=128 and run `make esim`",
    schema.KNOWLEDGE: "set item_knowledge.enabled=true and run `make esim`",
}


def compared_items(supervision: Supervision, texts: ComparisonSettings) -> Tensor:
    """What is compared of each item, as unit vectors [N, W]. Raises SettingError if the item vectors lack a block."""
    blocks = [_space(block, texts)(block) for block in _blocks(supervision, texts)]
    return blocks[0] if len(blocks) == 1 else F.normalize(torch.cat(blocks, dim=1), dim=1)


def compared_vectors(vectors: Tensor, texts: ComparisonSettings) -> Tensor:
    """Any vectors [N, S] of the items as they are compared: [N, W]."""
    return _space(vectors, texts)(vectors)


def in_encoder_space(supervision: Supervision, texts: ComparisonSettings) -> Supervision:
    """The supervision with the encoder's vectors, of items and of interests, as they are compared with each other."""
    if texts.compare == "raw":
        return supervision
    to_space = _space(supervision.item_text_vectors, texts)
    return replace(
        supervision,
        item_text_vectors=to_space(supervision.item_text_vectors),
        interest_vectors=to_space(supervision.interest_vectors),
    )


def item_components(supervision: Supervision, texts: ComparisonSettings, num_components: int) -> Tensor:
    """What enters the item table: `num_components` whitened components of each block, [N, F blocks], so scaled that the
    mean square norm of a row is 1."""
    blocks = [whiten(block, num_components) for block in _blocks(supervision, texts)]
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=1) / len(blocks) ** 0.5


def joint_components(supervision: Supervision, texts: ComparisonSettings, num_components: int) -> Tensor:
    """The first `num_components` whitened components of all blocks together, [N, F]."""
    return whiten(torch.cat(_blocks(supervision, texts), dim=1), num_components)


def _blocks(supervision: Supervision, texts: ComparisonSettings) -> list[Tensor]:
    """The vectors [N, S] of each block in use."""
    blocks = []
    for name in texts.use:
        block = supervision.item_text_vectors if name == "encoder" else supervision.further.get(name)
        if block is None:
            hint = f"{_TURN_ON[name]}, or leave it out"
            raise SettingError("heads.texts.use", f"{name}, but the items have no such vectors", hint)
        blocks.append(block)
    return blocks


def _space(items: Tensor, texts: ComparisonSettings) -> Callable[[Tensor], Tensor]:
    """The map of vectors [..., S] to unit vectors of the space that is fitted on the `items` [N, S]. A vector of zeros
    says nothing, so it is not fitted on, and stays 0."""
    if texts.compare == "raw":
        return lambda vectors: vectors
    known = items.any(dim=1)
    mean, to_components = whitening(items[known], texts.components)

    def to_space(vectors: Tensor) -> Tensor:
        centered = vectors.double() - mean
        placed = centered @ to_components if texts.compare == "whitened" else centered
        return (F.normalize(placed, dim=-1) * vectors.any(dim=-1, keepdim=True)).float()

    return to_space
