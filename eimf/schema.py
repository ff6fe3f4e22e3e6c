"""Every kind's Arrow schema, and every column name, declared once.

An item has an external `item_id` (text, the user's own) and an internal `item_idx` (1..N; 0 is padding). A user
has an external `user_id` and an internal `user_idx` (0..U-1). The two are mapped in `dataset` and never mixed
elsewhere. A table has its id column even if its rows are in that order: people and other tools join by it.
"""

from collections.abc import Collection, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eimf.errors import ArtifactError

USER_ID, ITEM_ID = "user_id", "item_id"
USER, ITEM = "user_idx", "item_idx"
TIMESTAMP, RATING, EVENT_TYPE = "timestamp", "rating", "event_type"
NUM_EVENTS, NUM_TRAIN = "num_events", "num_train"
SPLIT, CASE, HISTORY_END = "split", "case", "history_end"
TEXT, TITLE, METADATA = "text", "title", "metadata"
ORDER = "order"
FILE, ROW, REASON = "file", "row", "reason"
STEP, NUM_REMOVED, EVENTS_LEFT, USERS_LEFT, ITEMS_LEFT = "step", "removed", "events", "users", "items"
VECTOR = "vector"
LEXICAL = "lexical"
KNOWLEDGE = "knowledge"
CLUSTER, SIMILARITY = "cluster", "similarity"
RANK, SCORE = "rank", "score"
REQUEST_KEY, PROMPT, HISTORY = "request_key", "prompt", "history"
LAST_PROMPTED_POSITION = "last_prompted_position"
ATTEMPT, REPLY, STATUS = "attempt", "reply", "status"
PROMPT_TOKENS, REPLY_TOKENS = "prompt_tokens", "reply_tokens"
FINISH_REASON = "finish_reason"
OFFERS, NUMBERS, SLOT = "offers", "items", "slot"
NUMBER, PICKED = "number", "picked"
GROUNDING = "grounding"
INTEREST_ID, INTEREST, EVIDENCE = "interest_id", "interest", "evidence"
SOURCE, CONTROL, WEIGHTS, TRAIN_EVENTS = "source", "control", "weights", "train_events"
NATS, NATS_WITHOUT, RANK_WITHOUT = "nats", "nats_without", "rank_without"
NATS_GAIN, NATS_ERROR, NATS_P = "nats_gain", "nats_error", "nats_p"
NDCG_GAIN, NDCG_ERROR, NDCG_P = "ndcg_gain", "ndcg_error", "ndcg_p"
OVER_CONTROL, OVER_CONTROL_ERROR, OVER_CONTROL_P = "over_control", "over_control_error", "over_control_p"
METRIC, K, SLICE, VALUE, CASES = "metric", "k", "slice", "value", "cases"

VALID, TEST = "valid", "test"
"""Values of the `split` column: what a case is for."""

NEVER = 2**31 - 1
"""Rank of an item that is never recommended, because it is in the user's history and such items are excluded: beyond
every cut-off, even one larger than the catalogue."""

_TEXT_PART = "text_"


def text_part(number: int) -> str:
    """Name of the column with the text of the `number`-th of `text.columns` in a raw item table."""
    return f"{_TEXT_PART}{number}"


def text_parts(columns: Iterable[str]) -> list[str]:
    """The `columns` that `text_part` named, in their order."""
    return [column for column in columns if column.startswith(_TEXT_PART)]


def vector_type(width: int) -> pa.DataType:
    """A dense float32 vector column of `width` numbers."""
    return pa.list_(pa.float32(), width)


def width_of(table: pa.Table, name: str = VECTOR) -> int:
    """Width of the vectors in a column of the table. Raises ArtifactError if it has no such column."""
    column = table.schema.field(name).type if name in table.column_names else pa.null()
    if not pa.types.is_fixed_size_list(column) or column.list_size < 1:
        raise ArtifactError(f"column {name}", f"the table has {column}, not vectors", REBUILD)
    return int(column.list_size)


def vectors_of(table: pa.Table, name: str = VECTOR) -> np.ndarray:
    """A vector column of a table, [n, S] float32; a view of the table if it has one chunk."""
    column = table[name]
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
            problem = f"has no column {name}"
        elif table.schema.field(name).type != wanted.field(name).type:
            problem = f"has {table.schema.field(name).type}, not {wanted.field(name).type}"
        elif name not in MAY_BE_EMPTY and table[name].null_count:
            problem = f"has {table[name].null_count} empty cells"
        else:
            continue
        raise ArtifactError(f"column {name}", f"the table {problem}", REBUILD)
    return table


REBUILD = "it is damaged: build its artifact again"
MAY_BE_EMPTY = {TITLE, METADATA, USER_ID, ROW, REASON, VALUE, GROUNDING, CONTROL}


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

ITEMS = pa.schema(
    [(ITEM, pa.int32()), (ITEM_ID, pa.string()), (TITLE, pa.string()), (METADATA, pa.string()), (TEXT, pa.string())]
)
"""dataset/items: sorted by item_idx from 1. `metadata` is the text columns joined by " | "; it and the title may be
null. `text` is what the encoder reads; it never is."""


def display_names(items: pa.Table) -> list[str | None]:
    """What people and an LLM see of each item: its title, else its metadata; None for an item that has neither."""
    return pc.coalesce(items[TITLE], items[METADATA]).to_pylist()


USER_IDS = pa.schema([(USER, pa.int32()), (USER_ID, pa.string()), (NUM_EVENTS, pa.int32()), (NUM_TRAIN, pa.int32())])
"""dataset/users: sorted by user_idx from 0, with the number of the user's events and of training events. The events
themselves are arrays, user by user in order and the training events of a user first: dataset/item_idx, int32, and if
there are times dataset/timestamp, float64, in seconds."""

CLEANING = pa.schema(
    [
        (STEP, pa.string()),
        (REASON, pa.string()),
        (FILE, pa.string()),
        (NUM_REMOVED, pa.int64()),
        (EVENTS_LEFT, pa.int64()),
        (USERS_LEFT, pa.int64()),
        (ITEMS_LEFT, pa.int64()),
    ]
)
"""dataset/cleaning: for each step of cleaning in order, and each reason, how many rows of the raw files (`interactions`
or `items`) it removed, and how many events, users and items were left after the step."""

REMOVED = pa.schema(
    [
        (STEP, pa.string()),
        (REASON, pa.string()),
        (FILE, pa.string()),
        (ROW, pa.int64()),
        (USER_ID, pa.string()),
        (ITEM_ID, pa.string()),
    ]
)
"""dataset/removed: every row of the raw files that was left out, with the step and the reason. `file` is `interactions`
or `items`, of several files with the name (`interactions: a.csv`); `row` counts from 0 within the file, below a header;
of a file with a sequence in each row, it counts events."""

CLUSTERS = pa.schema([(USER, pa.int32()), (CLUSTER, pa.int32()), (SIMILARITY, pa.float32())])
"""clusters/clusters: each user's cluster and the cosine similarity of the user's vector to its centroid; -1 and 0 for a
user without training events. Every cluster has a member."""

TYPICAL_USERS = pa.schema([(CLUSTER, pa.int32()), (USER, pa.int32())])
"""typical_users/typical_users: the users that stand for each cluster, sorted by cluster, who was chosen first at the
top; one for each cluster unless `cluster.typical_per_cluster` says otherwise."""

REQUESTS = pa.schema(
    [
        (REQUEST_KEY, pa.string()),
        (USER, pa.int32()),
        (PROMPT, pa.string()),
        (HISTORY, pa.list_(pa.int32())),
        (LAST_PROMPTED_POSITION, pa.int32()),
    ]
)
"""requests/requests: one row per typical user, in the order of typical_users. `prompt` is rendered for the model,
`history` is the item_idx of its numbered titles, in order. Users with equal titles share a request key."""

OFFER = pa.struct([(INTEREST, pa.string()), (NUMBERS, pa.list_(pa.int32())), (SLOT, pa.int32())])
CLOSED_REQUESTS = REQUESTS.append(pa.field(OFFERS, pa.list_(OFFER)))
"""requests/requests with a closed vocabulary: also the phrases that the LLM chose from, each with the numbers of the
titles that carry it, and the place in the reply that it was offered for. Without any, the LLM wrote freely."""

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
"""One attempt at one request in the reply store: the raw reply, and `finish_reason`: `stop`, or `length` if
`llm.max_tokens` cut it."""

PARSED_REPLIES = pa.schema(
    [
        (REQUEST_KEY, pa.string()),
        (USER, pa.int32()),
        (ATTEMPT, pa.int32()),
        (REPLY, pa.string()),
        (STATUS, pa.string()),
        (REASON, pa.string()),
        (PROMPT_TOKENS, pa.int32()),
        (REPLY_TOKENS, pa.int32()),
    ]
)
"""interests/replies: the last attempt at each request, in the order of requests. `status` is ok, truncated (the list
breaks off; its whole entries count) or malformed, `reason` says why. The raw reply and the number of its attempt are
kept for people: an artifact is copied without the reply store."""

ITEM_KNOWLEDGE = pa.schema([(ITEM, pa.int32()), (ITEM_ID, pa.string()), (KNOWLEDGE, pa.string())])
"""item_knowledge/knowledge: what is known about each item, sorted by item_idx from 1; null for an item that was not
asked about, or of which nothing is known."""

KNOWLEDGE_REPLIES = pa.schema([(ITEM, pa.int32()) if field.name == USER else field for field in PARSED_REPLIES])
"""item_knowledge/replies: as PARSED_REPLIES, for each item that the LLM was asked about. Items with equal texts share a
request key."""

MOST_INTERESTS = 256
"""Of a cluster, in esim/interests."""

INTERESTS = pa.schema(
    [(INTEREST_ID, pa.int32()), (USER, pa.int32()), (INTEREST, pa.string()), (EVIDENCE, pa.list_(pa.int32()))]
)
"""interests/interests: one row per interest of a typical user. `interest_id` is the row number, from 0, and names the
same interest in interest_vectors and esim, so `table.take(interest_ids)` finds texts and evidence. `interest` is the
text, `evidence` the item_idx of the titles that the LLM names for it."""

PICKS = pa.schema(
    [(CLUSTER, pa.int32()), (NUMBER, pa.int32()), (ITEM, pa.int32()), (SIMILARITY, pa.float32()), (PICKED, pa.bool_())]
)
"""picks/picks, and with picks esim/picks: the items that were offered to the LLM for each cluster, sorted by cluster,
then by their number in the prompt, from 1; their co-occurrence with what the cluster's users had in training; and
whether the LLM picked them. Without a usable reply, none is picked."""

ESIM_USERS = pa.schema([(USER, pa.int32()), (CLUSTER, pa.int32()), (LAST_PROMPTED_POSITION, pa.int32())])
"""esim/users: each user's cluster (-1: none, without training events), and the last position of the user's history that
was in a prompt (-1: none); it is always that of a training event."""

SOURCE_GAINS = pa.schema(
    [
        (SOURCE, pa.string()),
        (CONTROL, pa.string()),
        (USER, pa.int32()),
        (NATS_WITHOUT, pa.float64()),
        (NATS, pa.float64()),
        (RANK_WITHOUT, pa.int32()),
        (RANK, pa.int32()),
        (TRAIN_EVENTS, pa.int64()),
        (HISTORY_END, pa.int32()),
    ]
)
"""signal_check/gains: how well each validation case is predicted without and with a source (`control` is null), or with
one of its controls in its place: the log-probability of the item that was chosen, in nats, and its rank. A row per
source, control and case, with the training events of the item and the length of the history."""

SOURCES = pa.schema(
    [
        (SOURCE, pa.string()),
        (WEIGHTS, pa.list_(pa.float64())),
        *((name, pa.float64()) for name in (NATS_GAIN, NATS_ERROR, NATS_P, NDCG_GAIN, NDCG_ERROR, NDCG_P)),
        *((name, pa.float64()) for name in (OVER_CONTROL, OVER_CONTROL_ERROR, OVER_CONTROL_P)),
    ]
)
"""calibration/sources: the weights of the columns of each source, relative to that of the model (empty if the source
was dropped), and what it adds to the others on validation events, with standard error and p. The last columns are
what it has over its best control in nats, null if that was not asked: a source is compared with controls once all that
are left add something."""


def item_vectors(width: int, lexical: int = 0, knowledge: int = 0) -> pa.Schema:
    """item_vectors/vectors: x_i of METHOD, sorted by item_idx from 1; and, if their width is not 0, the item's lexical
    vector, and that of what an LLM knows about it (0 for an item that it was not asked about). All are
    L2-normalised."""
    columns = [(ITEM, pa.int32()), (VECTOR, vector_type(width))]
    further = [(LEXICAL, lexical), (KNOWLEDGE, knowledge)]
    return pa.schema([*columns, *((name, vector_type(size)) for name, size in further if size)])


def user_vectors(width: int) -> pa.Schema:
    """user_vectors/vectors: mean of x_i over the training history, L2-normalised, sorted by user_idx; zeros for a user
    without training events."""
    return pa.schema([(USER, pa.int32()), (VECTOR, vector_type(width))])


def centroids(width: int) -> pa.Schema:
    """clusters/centroids: unit vectors in the space of user_vectors/vectors, sorted by cluster. No stage reads them;
    they are what a new user is assigned by."""
    return pa.schema([(CLUSTER, pa.int32()), (VECTOR, vector_type(width))])


def interest_vectors(width: int) -> pa.Schema:
    """interest_vectors/vectors: one row per row of interests/interests, in its order, L2-normalised."""
    return pa.schema([(INTEREST_ID, pa.int32()), (VECTOR, vector_type(width))])


def esim_interests(width: int) -> pa.Schema:
    """esim/interests: Z of METHOD, one row per interest of each cluster, sorted by cluster, then interest_id.
    `grounding` tells how near the interest's text is to the items of its evidence (`eimf.esim.grounding`); it is null
    without evidence. An artifact of stage version 2 has no such column; training does not read it."""
    columns = [(INTEREST_ID, pa.int32()), (CLUSTER, pa.int32()), (VECTOR, vector_type(width))]
    return pa.schema([*columns, (GROUNDING, pa.float32())])


METRICS = pa.schema(
    [(METRIC, pa.string()), (K, pa.int32()), (SLICE, pa.string()), (VALUE, pa.float64()), (CASES, pa.int64())]
)
"""metrics/metrics: the mean over cases of each metric at each cut-off, for each slice of the relevant items."""

RANKS = pa.schema([(CASE, pa.int32()), (USER, pa.int32()), (ITEM, pa.int32()), (RANK, pa.int32())])
"""metrics/ranks: each relevant item of each case, and its 1-based rank among the items that may be recommended; NEVER
if it may not be."""
