"""How fast an LLM has answered before: the manifests of `interests` in a store have seconds and tokens."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eimf.errors import ArtifactError
from eimf.store.artifact import Artifact, Store


@dataclass(frozen=True)
class Run:
    """Stage 7, as it was once run: tokens of prompts and replies together in each second, engine start included, and
    the mean tokens of a reply."""

    tokens_per_second: float
    reply_tokens: float


def runs_of(store: Store, identity: Mapping[str, Any]) -> list[Run]:
    """The runs of this model (`Engines.generator_identity`; with any sampling and prompt) in which it was asked about
    all users."""
    runs = []
    for kind, key in store.listing():
        if kind != "interests":
            continue
        try:
            interests = store.get(kind, key)
            requests = store.parent(interests, "requests")
        except ArtifactError:  # damaged, or copied without what it was built from: `eimf verify` tells
            continue
        generator = requests.manifest.configuration.get("generator", {})
        same = all(generator.get(name) == identity.get(name) for name in ("backend", "model", "dtype"))
        if same and (run := _run(interests)) is not None:
            runs.append(run)
    return runs


def _run(interests: Artifact) -> Run | None:
    summary, seconds = interests.manifest.summary, interests.manifest.seconds
    users, sent = summary.get("users", 0), summary.get("llm_requests", 0)
    tokens = summary.get("prompt_tokens", 0) + summary.get("reply_tokens", 0)
    if not users or sent < users or not tokens or seconds <= 0:
        return None
    return Run(tokens * sent / users / seconds, summary["reply_tokens"] / users)


def median_rate(runs: list[Run]) -> float | None:
    """Tokens a second, None without a run."""
    return statistics.median(run.tokens_per_second for run in runs) if runs else None


def describe_rates(runs: list[Run]) -> str:
    """What `median_rate` is the median of."""
    rates = [run.tokens_per_second for run in runs]
    if len(rates) < 2:
        return "as in the one earlier run of this LLM" if rates else "no earlier run of this LLM"
    return f"the median of {len(rates)} earlier runs of this LLM, {min(rates):,.0f} to {max(rates):,.0f}"
