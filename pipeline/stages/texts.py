"""Stages 2 and 8: vectors of item texts and of interests."""

from typing import Any

from eimf import schema
from eimf.store.artifact import Staging
from pipeline.console import progress
from pipeline.stages.stage import Artifacts, Facts, Run


def encoder_configuration(run: Run) -> dict[str, Any]:
    return {"encoder": run.engines.encoder_identity}


def _encode(run: Run, texts: list[str], label: str) -> Any:
    """Unit vectors of `texts` as an Arrow column, or None without texts. Loads the encoder only if there is a text."""
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

    interests = made["interests"].table("interests", [schema.INTEREST_ID, schema.INTEREST])
    texts = interests[schema.INTEREST].to_pylist()
    vectors = _encode(run, texts, "encoding interests")
    if vectors is None:
        vectors = pa.array([], schema.vector_type(1))
    table_schema = schema.interest_vectors(vectors.type.list_size)
    staging.write_table("vectors", pa.table([interests[schema.INTEREST_ID], vectors], schema=table_schema))
    return {"interests": len(texts), "distinct": len(set(texts))}
