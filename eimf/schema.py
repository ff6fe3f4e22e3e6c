"""Every kind's Arrow schema, and every column name, declared once.

An item has an external `item_id` (text, the user's own) and an internal `item_idx` (1..N; 0 is padding). A user
has an external `user_id` and an internal `user_idx` (0..U-1). The two are mapped in `dataset` and never mixed
elsewhere.
"""

from collections.abc import Collection

import numpy as np
import pyarrow as pa

from eimf.errors import ArtifactError

USER_ID, ITEM_ID = "user_id", "item_id"
USER, ITEM = "user_idx", "item_idx"
TIMESTAMP = "timestamp"
TRAIN = "train"
SPLIT, CASE, HISTORY_END = "split", "case", "history_end"
TEXT, TITLE = "text", "title"
ORDER = "order"
FILE, ROW, REASON = "file", "row", "reason"
VECTOR = "vector"
CLUSTER, SIMILARITY, RANK = "cluster", "similarity", "rank"
REQUEST_KEY, PROMPT, HISTORY = "request_key", "prompt", "history"
LAST_READ = "last_read"
ATTEMPT, REPLY, STATUS = "attempt", "reply", "status"
PROMPT_TOKENS, REPLY_TOKENS = "prompt_tokens", "reply_tokens"
FINISH_REASON = "finish_reason"
INTEREST, INTEREST_NO, INTERESTS, EVIDENCE = "interest", "interest_no", "interests", "evidence"
SOURCE, AUC, AUC_WITH_HISTORY = "source", "alone", "with_history"
METRIC, K, SLICE, VALUE, CASES = "metric", "k", "slice", "value", "cases"

VALID, TEST = "valid", "test"
"""Values of the `split` column: what a case is for."""

NEVER = 2**31 - 1
"""Rank of an item that is never recommended, because it is in the user's history and such items are excluded: beyond
every cut-off, even one larger than the catalogue."""


def vector_type(width: int) -> pa.DataType:
    """A dense float32 vector column of `width` numbers."""
    return pa.list_(pa.float32(), width)


def width_of(table: pa.Table) -> int:
    """Numbers of each vector in its vector column. Raises ArtifactError if it has none."""
    column = table.schema.field(VECTOR).type if VECTOR in table.column_names else pa.null()
    if not pa.types.is_fixed_size_list(column) or column.list_size < 1:
        raise ArtifactError(f"column {VECTOR}", f"the table has {column}, not vectors", REBUILD)
    return int(column.list_size)


def vectors_of(table: pa.Table) -> np.ndarray:
    """The vector column of a table, [n, S] float32; a view of the table where that is possible."""
    column = table[VECTOR]
    width = column.type.list_size
    parts = [chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, width) for chunk in column.chunks]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros((0, width), np.float32)


def checked(table: pa.Table, wanted: pa.Schema, columns: Collection[str] = ()) -> pa.Table:
    """`table` itself, if it has the `columns` (by default all) of the schema `wanted`, in its types, and no empty cell
    in a column that is not in MAY_BE_EMPTY. Raises ArtifactError otherwise."""
    for name in columns or wanted.names:
        if name not in table.column_names:
            wrong = f"has no column {name}"
        elif table.schema.field(name).type != wanted.field(name).type:
            wrong = f"has {table.schema.field(name).type}, not {wanted.field(name).type}"
        elif name not in MAY_BE_EMPTY and table[name].null_count:
            wrong = f"has {table[name].null_count} empty cells"
        else:
            continue
        raise ArtifactError(f"column {name}", f"the table {wrong}", REBUILD)
    return table


REBUILD = "it is damaged: build its artifact again"
MAY_BE_EMPTY = {TIMESTAMP, TITLE, USER_ID, ROW, REASON, VALUE}


EVENTS = pa.schema(
    [
        pa.field(USER, pa.int32(), nullable=False),
        pa.field(ITEM, pa.int32(), nullable=False),
        pa.field(TIMESTAMP, pa.float64()),
        pa.field(TRAIN, pa.bool_(), nullable=False),
    ]
)
"""dataset/events: each user's events in order, sorted by user_idx; the training events of a user come first."""

EVAL_CASES = pa.schema(
    [
        pa.field(SPLIT, pa.string(), nullable=False),
        pa.field(CASE, pa.int32(), nullable=False),
        pa.field(USER, pa.int32(), nullable=False),
        pa.field(HISTORY_END, pa.int32(), nullable=False),
        pa.field(ITEM, pa.int32(), nullable=False),
    ]
)
"""dataset/eval_cases: what is to be predicted, a row for each relevant item; case counts from 0 within a split, and
history_end is how many of the user's events form the history. Sorted by split, then case."""

ITEMS = pa.schema([(ITEM, pa.int32()), (ITEM_ID, pa.string()), (TITLE, pa.string()), (TEXT, pa.string())])
"""dataset/items: sorted by item_idx from 1; title may be null, text never is."""

USER_IDS = pa.schema([(USER, pa.int32()), (USER_ID, pa.string())])
"""dataset/users: sorted by user_idx from 0."""

REJECTED = pa.schema(
    [(FILE, pa.string()), (ROW, pa.int64()), (USER_ID, pa.string()), (ITEM_ID, pa.string()), (REASON, pa.string())]
)
"""dataset/rejected: rows of the raw files (`interactions` or `items`) that were left out, by their 0-based row, and
why."""

CLUSTERS = pa.schema([(USER, pa.int32()), (CLUSTER, pa.int32()), (SIMILARITY, pa.float32())])
"""clusters/clusters: every user's cluster and the cosine similarity to its centroid, of the user vectors as they are.
Every cluster has a member."""

TYPICAL_USERS = pa.schema([(CLUSTER, pa.int32()), (USER, pa.int32()), (RANK, pa.int32()), (SIMILARITY, pa.float32())])
"""typical_users: the users that stand for a cluster, rank 0 first."""

REQUESTS = pa.schema(
    [
        (REQUEST_KEY, pa.string()),
        (USER, pa.int32()),
        (PROMPT, pa.string()),
        (HISTORY, pa.list_(pa.int32())),
        (LAST_READ, pa.int32()),
    ]
)
"""requests: the rendered prompt, the items behind its numbered titles (item_idx, in order), the last event
position shown."""

REPLIES = pa.schema(
    [
        (REQUEST_KEY, pa.string()),
        (ATTEMPT, pa.int32()),
        (REPLY, pa.string()),
        (PROMPT_TOKENS, pa.int32()),
        (REPLY_TOKENS, pa.int32()),
        (FINISH_REASON, pa.string()),
    ]
)
"""One attempt at one request, as the row store keeps it: what came back, raw, and why it ended: `stop`, or `length` if
`llm.max_tokens` cut it."""

INTERESTS_TABLE = pa.schema(
    [
        (REQUEST_KEY, pa.string()),
        (USER, pa.int32()),
        (ATTEMPT, pa.int32()),
        (REPLY, pa.string()),
        (STATUS, pa.string()),
        (REASON, pa.string()),
        (PROMPT_TOKENS, pa.int32()),
        (REPLY_TOKENS, pa.int32()),
        (INTERESTS, pa.list_(pa.string())),
        (EVIDENCE, pa.list_(pa.list_(pa.int32()))),
    ]
)
"""interests: the last attempt at each request, parsed. status: ok, truncated (the list breaks off, its whole entries
count) or malformed; evidence: item_idx, a list for each interest."""

ESIM_USERS = pa.schema([(USER, pa.int32()), (CLUSTER, pa.int32()), (SIMILARITY, pa.float32()), (LAST_READ, pa.int32())])
"""esim/users: each user's cluster, and the last position of the user's history that the LLM has read (-1: none)."""

READINGS = pa.schema([(SOURCE, pa.string()), (USER, pa.int32()), (AUC, pa.float64()), (AUC_WITH_HISTORY, pa.float64())])
"""probe/readings: of a source and a supervised user, the AUC of the validation item, from the source alone and added to
the user's own history."""


def item_vectors(width: int) -> pa.Schema:
    """item_vectors/vectors and esim/items: x_i of METHOD, L2-normalised, sorted by item_idx from 1."""
    return pa.schema([(ITEM, pa.int32()), (VECTOR, vector_type(width))])


def user_vectors(width: int) -> pa.Schema:
    """user_vectors/vectors: mean of x_i over the training history, L2-normalised, sorted by user_idx."""
    return pa.schema([(USER, pa.int32()), (VECTOR, vector_type(width))])


def centroids(width: int) -> pa.Schema:
    """clusters/centroids: unit vectors in the space of user_vectors/vectors, sorted by cluster."""
    return pa.schema([(CLUSTER, pa.int32()), (VECTOR, vector_type(width))])


def interest_vectors(width: int) -> pa.Schema:
    """interest_vectors/vectors: one row for each interest of each typical user."""
    return pa.schema([(USER, pa.int32()), (INTEREST_NO, pa.int32()), (VECTOR, vector_type(width))])


def esim_interests(width: int) -> pa.Schema:
    """esim/interests: Z of METHOD, one row for each interest of each cluster that has any."""
    return pa.schema([(CLUSTER, pa.int32()), (INTEREST_NO, pa.int32()), (VECTOR, vector_type(width))])


METRICS = pa.schema(
    [(METRIC, pa.string()), (K, pa.int32()), (SLICE, pa.string()), (VALUE, pa.float64()), (CASES, pa.int64())]
)
"""metrics/metrics: the mean over cases of each metric at each cut-off, for each slice of the relevant items."""

RANKS = pa.schema([(CASE, pa.int32()), (USER, pa.int32()), (ITEM, pa.int32()), (RANK, pa.int32())])
"""metrics/ranks: each relevant item of each case, and its 1-based rank among the items that may be recommended; NEVER
if it may not be."""
