"""Stages 2 and 8: vectors of item texts and of interests."""

from typing import Any

from eimf import schema
from eimf.store.artifact import Staging
from pipeline.console import progress
from pipeline.stages.stage import Artifacts, Facts, Run


def encoder_configuration(run: Run) -> dict[str, Any]:
    return {"encoder": run.engines.encoder_identity}


def _encode(run: Run, texts: list[str], label: str) -> Any:
    """Unit vectors of `texts` as an Arrow column; the encoder is loaded only where there is a text."""
    from eimf.esim.encode import encode_texts, to_column

    if not texts:
        return None
    batch, encoder = run.recipe.runtime.encode_batch_size, run.engines.encoder()
    with progress(label, len(set(texts)), "texts") as on_progress:
        return to_column(encode_texts(encoder, texts, batch, on_progress))


def build_item_vectors(run: Run, made: Artifacts, staging: Staging) -> Facts:
    import pyarrow as pa

    items = made["dataset"].table("items", [schema.ITEM, schema.TEXT])
    vectors = _encode(run, items[schema.TEXT].to_pylist(), "encoding items")
    width = vectors.type.list_size
    staging.write_table("vectors", pa.table([items[schema.ITEM], vectors], schema=schema.item_vectors(width)))
    return {"items": items.num_rows, "width": width}


def build_interest_vectors(run: Run, made: Artifacts, staging: Staging) -> Facts:
    import pyarrow as pa

    rows = made["interests"].table("interests", [schema.USER, schema.INTERESTS]).to_pylist()
    flat = [(row[schema.USER], number, text) for row in rows for number, text in enumerate(row[schema.INTERESTS])]
    vectors = _encode(run, [text for _, _, text in flat], "encoding interests")
    width = vectors.type.list_size if vectors is not None else 1
    columns = [pa.array([row[0] for row in flat], pa.int32()), pa.array([row[1] for row in flat], pa.int32())]
    column = vectors if vectors is not None else pa.array([], schema.vector_type(width))
    staging.write_table("vectors", pa.table([*columns, column], schema=schema.interest_vectors(width)))
    return {"interests": len(flat), "distinct": len({text for _, _, text in flat})}
