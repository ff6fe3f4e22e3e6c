"""Stages 2 and 8: vectors of item texts and of interests."""

from functools import partial
from typing import Any

from eimf import schema
from eimf.config import AdaptSettings
from eimf.store.artifact import Staging
from pipeline.backends.engines import Engines
from pipeline.console import progress
from pipeline.stages.adapted_encoder import ADAPTED
from pipeline.stages.stage import Artifacts, Stage, Summary


def item_vectors_stage(engines: Engines, batch_size: int, adapt: AdaptSettings) -> Stage:
    """Stage 2: a vector for each item's text."""
    if adapt.control == "cooccurrence" and adapt.enabled:
        return Stage(2, "item_vectors", 2, ("dataset", ADAPTED), {}, _copy_item_vectors)
    build = partial(_build_item_vectors, engines, batch_size)
    parents = ("dataset", ADAPTED) if adapt.enabled else ("dataset",)
    return Stage(2, "item_vectors", 2, parents, {"encoder": engines.encoder_identity}, build)


def interest_vectors_stage(engines: Engines, batch_size: int, adapt: AdaptSettings) -> Stage:
    """Stage 8: a vector for each interest that the LLM named."""
    if adapt.control == "cooccurrence" and adapt.enabled:
        return Stage(8, "interest_vectors", 2, ("interests", ADAPTED), {}, _evidence_as_interest_vectors)
    build = partial(_build_interest_vectors, engines, batch_size)
    parents = ("interests", ADAPTED) if adapt.enabled else ("interests",)
    return Stage(8, "interest_vectors", 2, parents, {"encoder": engines.encoder_identity}, build)


def _encode(engines: Engines, batch_size: int, artifacts: Artifacts, texts: list[str], label: str) -> Any:
    """Unit vectors of `texts` as an Arrow column, or None without texts. Loads the encoder only if there is a text."""
    from eimf.esim.encode import encode_texts, to_column

    if not texts:
        return None
    if ADAPTED in artifacts:
        artifacts[ADAPTED].verify()
        encoder = engines.encoder(artifacts[ADAPTED].folder)
    else:
        encoder = engines.encoder()
    with progress(label, len(set(texts)), "texts") as on_progress:
        return to_column(encode_texts(encoder, texts, batch_size, on_progress))


def _build_item_vectors(engines: Engines, batch_size: int, artifacts: Artifacts, staging: Staging) -> Summary:
    import pyarrow as pa

    items = artifacts["dataset"].table("items", [schema.ITEM, schema.TEXT])
    vectors = _encode(engines, batch_size, artifacts, items[schema.TEXT].to_pylist(), "encoding items")
    width = vectors.type.list_size
    staging.write_table("vectors", pa.table([items[schema.ITEM], vectors], schema=schema.item_vectors(width)))
    return {"items": items.num_rows, "width": width}


def _build_interest_vectors(engines: Engines, batch_size: int, artifacts: Artifacts, staging: Staging) -> Summary:
    import pyarrow as pa

    interests = artifacts["interests"].table("interests", [schema.INTEREST_ID, schema.INTEREST])
    texts = interests[schema.INTEREST].to_pylist()
    vectors = _encode(engines, batch_size, artifacts, texts, "encoding interests")
    if vectors is None:
        vectors = pa.array([], schema.vector_type(1))
    table_schema = schema.interest_vectors(vectors.type.list_size)
    staging.write_table("vectors", pa.table([interests[schema.INTEREST_ID], vectors], schema=table_schema))
    return {"interests": len(texts), "distinct": len(set(texts))}


def _copy_item_vectors(artifacts: Artifacts, staging: Staging) -> Summary:
    """The control without text: what stage 1a factorized."""
    vectors = artifacts[ADAPTED].table("vectors")
    staging.write_table("vectors", vectors)
    return {"items": vectors.num_rows, "width": schema.width_of(vectors)}


def _evidence_as_interest_vectors(artifacts: Artifacts, staging: Staging) -> Summary:
    """The control without text: an interest is the mean of the items that show it."""
    import pyarrow as pa

    from eimf.esim.adapt.factors import evidence_vectors
    from eimf.esim.encode import to_column

    interests = artifacts["interests"].table("interests", [schema.INTEREST_ID, schema.INTEREST, schema.EVIDENCE])
    item_vectors = schema.vectors_of(artifacts[ADAPTED].table("vectors"))
    vectors = evidence_vectors(item_vectors, interests[schema.EVIDENCE].to_pylist())
    table_schema = schema.interest_vectors(vectors.shape[1])
    staging.write_table("vectors", pa.table([interests[schema.INTEREST_ID], to_column(vectors)], schema=table_schema))
    return {"interests": len(vectors), "distinct": len(set(interests[schema.INTEREST].to_pylist()))}
