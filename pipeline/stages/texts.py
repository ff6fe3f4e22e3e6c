"""Stages 2 and 8: vectors of item texts and of interests."""

from functools import partial
from typing import Any

from eimf import schema
from eimf.store.artifact import Staging
from pipeline.backends.engines import Engines
from pipeline.console import progress
from pipeline.stages.stage import Artifacts, Stage, Summary


def item_vectors_stage(engines: Engines, batch_size: int) -> Stage:
    """Stage 2: a vector for each item's text."""
    build = partial(_build_item_vectors, engines, batch_size)
    return Stage(2, "item_vectors", 2, ("dataset",), {"encoder": engines.encoder_identity}, build)


def interest_vectors_stage(engines: Engines, batch_size: int) -> Stage:
    """Stage 8: a vector for each interest that the LLM named."""
    build = partial(_build_interest_vectors, engines, batch_size)
    return Stage(8, "interest_vectors", 2, ("interests",), {"encoder": engines.encoder_identity}, build)


def _encode(engines: Engines, batch_size: int, texts: list[str], label: str) -> Any:
    """Unit vectors of `texts` as an Arrow column; the encoder is loaded only if there is a text."""
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
    staging.write_table("vectors", pa.table([items[schema.ITEM], vectors], schema=schema.item_vectors(width)))
    return {"items": items.num_rows, "width": width}


def _build_interest_vectors(engines: Engines, batch_size: int, artifacts: Artifacts, staging: Staging) -> Summary:
    import pyarrow as pa

    rows = artifacts["interests"].table("interests", [schema.USER, schema.INTERESTS]).to_pylist()
    flat = [(row[schema.USER], number, text) for row in rows for number, text in enumerate(row[schema.INTERESTS])]
    vectors = _encode(engines, batch_size, [text for _, _, text in flat], "encoding interests")
    width = vectors.type.list_size if vectors is not None else 1
    columns = [pa.array([row[0] for row in flat], pa.int32()), pa.array([row[1] for row in flat], pa.int32())]
    column = vectors if vectors is not None else pa.array([], schema.vector_type(width))
    staging.write_table("vectors", pa.table([*columns, column], schema=schema.interest_vectors(width)))
    return {"interests": len(flat), "distinct": len({text for _, _, text in flat})}
