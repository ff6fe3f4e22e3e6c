"""Stage one: what an LLM says of a dataset's users."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from eimf import schema
from eimf.store.artifact import Artifact
from pipeline.api.call import Settings, call, with_settings
from pipeline.api.datasets import Dataset
from pipeline.api.display import table_html, titled_html
from pipeline.report.tables import Table
from pipeline.report.typical_users import typical_users_table
from pipeline.stages.stage_one import run_esim

_ROWS, _TITLES = 20, 4
"""Interests, and titles of each, that a notebook shows."""


@dataclass(frozen=True, eq=False)
class Interests:
    """The interests of the typical user of every cluster, frozen in the store."""

    data: Dataset
    artifacts: Mapping[str, Artifact]
    """Those of all stages, by kind; `esim` is what a training reads."""

    @property
    def key(self) -> str:
        """That of the `esim` artifact."""
        return self.artifacts["esim"].key

    @cached_property
    def table(self) -> pa.Table:
        """A row for each interest, of the largest clusters first: `user_id` of the typical user, `cluster`, `members`
        of it, `titles` that the LLM was shown, oldest first, `interest`, and `evidence`, the titles it named for it."""
        return typical_users_table(self.artifacts)

    def __repr__(self) -> str:
        users = self.artifacts["typical_users"].table("typical_users").num_rows
        key = self.artifacts["esim"].short
        return f"Interests {self.data.name!r}: {self.table.num_rows:,} of {users:,} typical users, key {key}"

    def _repr_html_(self) -> str:
        rows = self.table.slice(0, _ROWS).to_pylist()
        cells = tuple(
            (
                row[schema.USER_ID],
                (f"{row['members']:,}", row[schema.INTEREST], "; ".join(row[schema.EVIDENCE][-_TITLES:])),
            )
            for row in rows
        )
        table = Table("typical user", ("members", "interest", "evidence"), cells)
        hidden = self.table.num_rows - len(rows)
        notes = [f"{hidden:,} more are in its table."] if hidden else []
        return titled_html(repr(self), [table_html(table, words=True)], notes)


def infer_interests(data: Dataset, *, settings: Settings | None = None, progress: bool = True) -> Interests:
    """Ask an LLM what the typical user of every cluster is interested in (stage one), unless the store has the answers.

    It is the LLM of `llm.model`, here or elsewhere (`runtime.engine`); finished replies survive an interrupt, and are
    asked for once. Raises the errors of `eimf esim`.

    >>> interests = api.infer_interests(data, settings={"llm.backend": "fake", "encoder.backend": "fake"})
    >>> interests.table.column_names
    ['user_id', 'cluster', 'members', 'titles', 'interest', 'evidence']
    """
    with call("esim", progress):
        draft = with_settings(data.draft, settings, {})
        artifacts = run_esim(draft.recipe(), data.store)
        return Interests(Dataset(data.store, draft, artifacts["dataset"]), artifacts)
