"""The typical users of an ESIM artifact in words: what the LLM was shown, and the interests that it inferred."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from eimf import schema
from pipeline.stages.stage import Artifacts

TYPICAL = pa.schema(
    [
        pa.field(schema.USER_ID, pa.string(), nullable=False),
        pa.field(schema.CLUSTER, pa.int32(), nullable=False),
        pa.field("members", pa.int64(), nullable=False),
        pa.field("titles", pa.list_(pa.string()), nullable=False),
        pa.field(schema.INTEREST, pa.string(), nullable=False),
        pa.field(schema.EVIDENCE, pa.list_(pa.string()), nullable=False),
    ]
)
"""A row for each interest: the typical user, the cluster and its number of users, the titles that the LLM was shown,
oldest first, the interest, and the titles that the LLM named for it."""


def typical_users_table(artifacts: Artifacts) -> pa.Table:
    """`TYPICAL`, the largest clusters first, from the artifacts of stage one."""
    titles = schema.display_names(artifacts["dataset"].table("items", [schema.TITLE, schema.METADATA]))
    ids = artifacts["dataset"].table("users", [schema.USER_ID])[schema.USER_ID].to_pylist()
    sizes = Counter(artifacts["clusters"].table("clusters", [schema.CLUSTER])[schema.CLUSTER].to_pylist())
    shown = dict(_pairs(artifacts["requests"].table("requests"), schema.USER, schema.HISTORY))
    interests: dict[int, list[tuple[str, list[int]]]] = defaultdict(list)
    for row in artifacts["interests"].table("interests").to_pylist():
        interests[row[schema.USER]].append((row[schema.INTEREST], row[schema.EVIDENCE]))

    def named(item_idx: list[int]) -> list[str]:
        return [titles[item - 1] or "" for item in item_idx]

    users = _pairs(artifacts["typical_users"].table("typical_users"), schema.USER, schema.CLUSTER)
    rows = [
        (ids[user], cluster, sizes[cluster], named(shown[user]), interest, named(evidence))
        for user, cluster in sorted(users, key=lambda pair: (-sizes[pair[1]], pair[0]))
        for interest, evidence in interests[user]
    ]
    columns = zip(*rows, strict=True) if rows else [()] * len(TYPICAL)
    return pa.table([list(column) for column in columns], schema=TYPICAL)


def _pairs(rows: pa.Table, key: str, value: str) -> Iterable[tuple[Any, Any]]:
    columns = rows.to_pydict()
    return zip(columns[key], columns[value], strict=True)
