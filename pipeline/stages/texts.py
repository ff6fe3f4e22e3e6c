"""Stages 2 and 8: vectors of item texts and of interests."""

from functools import partial
from typing import Any

from eimf import schema
from eimf.store.artifact import Staging
from pipeline.backends.engines import Engines
from pipeline.console import progress
from pipeline.stages.stage import Artifacts, Stage, Summary


def item_vectors_stage(engines: Engines, batch_size: int, lexical: int = 0, *, knowledge: bool = False) -> Stage:
    """Stage 2: a vector for each item's text; if `lexical` is not 0 one of this width for the words in it; and with
    `knowledge` one for what is known about it (stage 1b)."""
    parents = ("dataset", "item_knowledge") if knowledge else ("dataset",)
    build = partial(_build_item_vectors, engines, batch_size, lexical)
    configuration = {"encoder": engines.encoder_identity} | ({"lexical": lexical} if lexical else {})
    return Stage(2, "item_vectors", 2, parents, configuration, build)


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


def _build_item_vectors(
    engines: Engines, batch_size: int, lexical: int, artifacts: Artifacts, staging: Staging
) -> Summary:
    import pyarrow as pa

    items = artifacts["dataset"].table("items", [schema.ITEM, schema.TEXT])
    texts = items[schema.TEXT].to_pylist()
    vectors = _encode(engines, batch_size, texts, "encoding items")
    width = vectors.type.list_size
    columns, widths, counts = [items[schema.ITEM], vectors], {}, {}
    if lexical:
        columns.append(_lexical(texts, lexical))
        widths["lexical"] = counts["lexical"] = lexical
    if "item_knowledge" in artifacts:
        known = artifacts["item_knowledge"].table("knowledge")[schema.KNOWLEDGE].to_pylist()
        columns.append(_encode_known(engines, batch_size, known, width))
        widths["knowledge"] = width
        counts["known"] = sum(text is not None for text in known)
    staging.write_table("vectors", pa.table(columns, schema=schema.item_vectors(width, **widths)))
    return {"items": items.num_rows, "width": width, **counts}


def _lexical(texts: list[str], width: int) -> Any:
    """What words the texts share, as an Arrow column."""
    from eimf.esim.encode import to_column
    from eimf.esim.lexical import lexical_vectors

    return to_column(lexical_vectors(texts, width))


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
