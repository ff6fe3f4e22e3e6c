"""Stages 2 and 8: vectors of item texts and of interests."""

from functools import partial
from typing import Any

from eimf import schema
from eimf.config import AdaptSettings
from eimf.errors import SettingError
from eimf.store.artifact import Staging
from pipeline.backends.engines import Engines
from pipeline.console import progress
from pipeline.stages.adapted_encoder import ADAPTED
from pipeline.stages.stage import Artifacts, Stage, Summary


def item_vectors_stage(
    engines: Engines, batch_size: int, adapt: AdaptSettings, lexical: int = 0, *, knowledge: bool = False
) -> Stage:
    """Stage 2: a vector for each item's text; if `lexical` is not 0 one of this width for the words in it; and with
    `knowledge` one for what is known about it (stage 1b). Raises SettingError for knowledge that nothing encodes."""
    parents = ["dataset"] + [ADAPTED] * adapt.enabled + ["item_knowledge"] * knowledge
    encodes = _encodes_texts(adapt)
    if knowledge and not encodes:
        problem = "cooccurrence, which encodes no text, but item_knowledge is enabled"
        raise SettingError("adapt.control", problem, "set item_knowledge.enabled=false, or take another control")
    build = partial(_build_item_vectors, engines, batch_size, lexical, encodes)
    configuration = {"encoder": engines.encoder_identity} if encodes else {}
    return Stage(2, "item_vectors", 2, tuple(parents), configuration | ({"lexical": lexical} if lexical else {}), build)


def _encodes_texts(adapt: AdaptSettings) -> bool:
    """False if the control without text stands for the encoder."""
    return not (adapt.enabled and adapt.control == "cooccurrence")


def interest_vectors_stage(engines: Engines, batch_size: int, adapt: AdaptSettings) -> Stage:
    """Stage 8: a vector for each interest that the LLM named."""
    if not _encodes_texts(adapt):
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
        encoder = engines.encoder(artifacts[ADAPTED].whole_folder())
    else:
        encoder = engines.encoder()
    with progress(label, len(set(texts)), "texts") as on_progress:
        return to_column(encode_texts(encoder, texts, batch_size, on_progress))


def _build_item_vectors(
    engines: Engines, batch_size: int, lexical: int, encodes: bool, artifacts: Artifacts, staging: Staging
) -> Summary:
    import pyarrow as pa

    items = artifacts["dataset"].table("items", [schema.ITEM, schema.TEXT])
    texts = items[schema.TEXT].to_pylist()
    if encodes:
        vectors = _encode(engines, batch_size, artifacts, texts, "encoding items")
    else:  # the control without text: what stage 1a factorized
        vectors = artifacts[ADAPTED].table("vectors")[schema.VECTOR].combine_chunks()
    width = vectors.type.list_size
    columns, widths, counts = [items[schema.ITEM], vectors], {}, {}
    if lexical:
        columns.append(_lexical(texts, lexical))
        widths["lexical"] = counts["lexical"] = lexical
    if "item_knowledge" in artifacts:
        known = artifacts["item_knowledge"].table("knowledge")[schema.KNOWLEDGE].to_pylist()
        columns.append(_encode_known(engines, batch_size, artifacts, known, width))
        widths["knowledge"] = width
        counts["known"] = sum(text is not None for text in known)
    staging.write_table("vectors", pa.table(columns, schema=schema.item_vectors(width, **widths)))
    return {"items": items.num_rows, "width": width, **counts}


def _lexical(texts: list[str], width: int) -> Any:
    """What words the texts share, as an Arrow column."""
    from eimf.esim.encode import to_column
    from eimf.esim.lexical import lexical_vectors

    return to_column(lexical_vectors(texts, width))


def _encode_known(engines: Engines, batch_size: int, artifacts: Artifacts, texts: list[str | None], width: int) -> Any:
    """Unit vectors of the `texts` that are not None, and 0 for the others, as an Arrow column. They are encoded by
    themselves, so the vectors of the items' own texts do not depend on them."""
    import numpy as np

    from eimf.esim.encode import to_column

    rows = [row for row, text in enumerate(texts) if text is not None]
    known_texts = [text for text in texts if text is not None]
    known = _encode(engines, batch_size, artifacts, known_texts, "encoding item knowledge")
    vectors = np.zeros((len(texts), width), np.float32)
    if rows:
        vectors[rows] = known.flatten().to_numpy().reshape(-1, width)
    return to_column(vectors)


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
