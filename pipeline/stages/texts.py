"""Stages 2 and 8: vectors of item texts and of interests."""

from functools import partial
from typing import Any

from eimf import schema
from eimf.store.artifact import Staging
from pipeline.backends.engines import Engines
from pipeline.console import progress
from pipeline.stages.stage import Artifacts, Stage, Summary


def item_vectors_stage(engines: Engines, batch_size: int, *, knowledge: bool = False) -> Stage:
    """Stage 2: a vector for each item's text, and with `knowledge` one for what is known about it (stage 1b)."""
    parents = ("dataset", "item_knowledge") if knowledge else ("dataset",)
    build = partial(_build_item_vectors, engines, batch_size)
    return Stage(2, "item_vectors", 2, parents, {"encoder": engines.encoder_identity}, build)


def interest_vectors_stage(engines: Engines, batch_size: int) -> Stage:
    """Stage 8: a vector for each interest that the LLM named."""
    build = partial(_build_interest_vectors, engines, batch_size)
    return Stage(8, "interest_vectors", 2, ("interests",), {"encoder": engines.encoder_identity}, build)


def _encode(engines: Engines, batch_size: int, texts: list[str], label: str) -> Any:
    """Unit vectors of `texts` as an Arrow column, or None without texts. Loads the encoder only if there is a text."""
    from eimf.esim.encode import encode_texts, to_column

    if not texts:
        return None
    encoder = engines.encoder()
    with progress(label, len(set(texts)), "texts") as on_progress:
        return to_column(encode_texts(encoder, texts, batch_size, on_progress))


def _build_item_vectors(engines: Engines, batch_size: int, artifacts: Artifacts, staging: Staging) -> Summary:
    import pyarrow as pa

    items = artifacts["dataset"].table("items", [schema.ITEM, schema.TEXT])
    vectors = _encode(engines, batch_size, items[schema.TEXT].to_pylist(), "encoding items")
    width = vectors.type.list_size
    columns, counts = [items[schema.ITEM], vectors], {"items": items.num_rows, "width": width}
    if "item_knowledge" not in artifacts:
        staging.write_table("vectors", pa.table(columns, schema=schema.item_vectors(width)))
        return counts
    texts = artifacts["item_knowledge"].table("knowledge")[schema.KNOWLEDGE].to_pylist()
    columns.append(_encode_known(engines, batch_size, texts, width))
    staging.write_table("vectors", pa.table(columns, schema=schema.item_vectors(width, knowledge=width)))
    return {**counts, "known": sum(text is not None for text in texts)}


def _encode_known(engines: Engines, batch_size: int, texts: list[str | None], width: int) -> Any:
    """Unit vectors of the `texts` that are not None, and 0 for the others, as an Arrow column. They are encoded by
    themselves, so the vectors of the items' own texts do not depend on them."""
    import numpy as np

    from eimf.esim.encode import to_column

    rows = [row for row, text in enumerate(texts) if text is not None]
    known = _encode(engines, batch_size, [text for text in texts if text is not None], "encoding item knowledge")
    vectors = np.zeros((len(texts), width), np.float32)
    if rows:
        vectors[rows] = known.flatten().to_numpy().reshape(-1, width)
    return to_column(vectors)


def _build_interest_vectors(engines: Engines, batch_size: int, artifacts: Artifacts, staging: Staging) -> Summary:
    import pyarrow as pa

    interests = artifacts["interests"].table("interests", [schema.INTEREST_ID, schema.INTEREST])
    texts = interests[schema.INTEREST].to_pylist()
    vectors = _encode(engines, batch_size, texts, "encoding interests")
    if vectors is None:
        vectors = pa.array([], schema.vector_type(1))
    table_schema = schema.interest_vectors(vectors.type.list_size)
    staging.write_table("vectors", pa.table([interests[schema.INTEREST_ID], vectors], schema=table_schema))
    return {"interests": len(texts), "distinct": len(set(texts))}
