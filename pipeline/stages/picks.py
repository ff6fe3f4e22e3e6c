"""Stage 7a: which of real candidates the LLM picks as next items. Off by default."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from eimf import schema
from eimf.config import PickSettings, PromptSettings
from eimf.errors import DataError
from eimf.esim.picks import PickTemplate
from eimf.store import keys
from eimf.store.artifact import Staging
from pipeline.backends.engines import Engines
from pipeline.stages.asking import Asking
from pipeline.stages.stage import Artifacts, Stage, Summary

if TYPE_CHECKING:
    import pyarrow as pa

    from eimf.esim.candidates import Candidates
    from eimf.esim.generate import Question

_PARENTS = ("dataset", "clusters", "typical_users")
Titles = Sequence[str | None]
"""What the LLM sees of items 1..N."""


@dataclass(frozen=True)
class PickPrompt:
    """What the LLM is asked: `picks` says about which candidates, `prompt` how titles are shown."""

    picks: PickSettings
    prompt: PromptSettings
    template: PickTemplate


def picks_stage(asked: PickPrompt, engines: Engines, asking: Asking) -> Stage:
    """Stage 7a: a prompt for each typical user, the LLM's replies, and the candidates with its picks."""
    configuration = {
        "picks": asked.picks.model_dump(mode="json", exclude={"enabled", "template"}),
        "prompt": asked.prompt.model_dump(mode="json", include={"max_titles", "title_chars"}),
        "template": asked.template.model_dump(mode="json"),
        "generator": engines.identity_for_schemas,
        "retries": asking.retries,
    }
    build = partial(_build_picks, asked, engines, asking)
    return Stage("7a", "picks", 1, _PARENTS, configuration, build)


def _build_picks(
    asked: PickPrompt, engines: Engines, asking: Asking, artifacts: Artifacts, staging: Staging
) -> Summary:
    from eimf.esim.generate import replies_table
    from eimf.esim.picks import check_any, parse_picks, picks_table

    titles = schema.display_names(artifacts["dataset"].table("items", [schema.TITLE, schema.METADATA]))
    candidates, without_choice = _candidates(asked.picks, titles, artifacts)
    requests, questions = _requests(asked, engines, titles, candidates, artifacts)
    replies, num_sent = asking.ask(engines.generator, engines.identity_for_schemas, questions, parse_picks)
    picks = picks_table(requests, candidates, artifacts["clusters"].table("clusters")[schema.CLUSTER], replies)
    parsed_replies = replies_table(requests, replies)
    check_any(parsed_replies)
    staging.write_table("requests", requests)
    staging.write_table("replies", parsed_replies)
    staging.write_table("picks", picks)
    return {
        "llm_requests": num_sent,
        "users": requests.num_rows,
        "without_choice": without_choice,
        "malformed": parsed_replies[schema.STATUS].to_pylist().count("malformed"),
        "candidates": picks.num_rows,
        "picks": sum(picks[schema.PICKED].to_pylist()),
    }


def _candidates(settings: PickSettings, titles: Titles, artifacts: Artifacts) -> "tuple[dict[int, Candidates], int]":
    """What is offered for the cluster of each typical user, in the order shown, and how many clusters have no more
    candidates than picks. Raises DataError if that is so for all."""
    import numpy as np

    from eimf.data.cooccurrence import count_cooccurrence
    from eimf.esim.candidates import cluster_candidates
    from pipeline.stages.load import histories_of

    histories = histories_of(artifacts)
    cluster = artifacts["clusters"].table("clusters")[schema.CLUSTER].to_numpy()
    table = artifacts["typical_users"].table("typical_users")
    _, first = np.unique(table[schema.CLUSTER].to_numpy(), return_index=True)  # who was chosen first speaks for all
    typical = table[schema.USER].to_numpy()[first]
    usable = np.array([title is not None for title in titles])
    ranked = cluster_candidates(count_cooccurrence(histories), histories, cluster, typical, usable)
    candidates = {
        user: best.first(settings.candidates).shuffled(settings.seed, int(cluster[user]))
        for user, best in zip(typical.tolist(), ranked, strict=True)
        if len(best.item_idx) > settings.picks
    }
    if not candidates:
        problem = f"no cluster has more than {settings.picks} items that co-occur with those of its users"
        raise DataError("picks.picks", problem, "lower it, or set picks.enabled=false")
    return candidates, len(typical) - len(candidates)


def _requests(
    asked: PickPrompt, engines: Engines, titles: Titles, candidates: "dict[int, Candidates]", artifacts: Artifacts
) -> "tuple[pa.Table, dict[str, Question]]":
    """`schema.REQUESTS` of the users that have candidates and an item with a title, and what each request asks."""
    import pyarrow as pa

    from eimf.esim.generate import Question
    from eimf.esim.picks import PickPrompts, picks_schema
    from eimf.esim.prompt import prompt_history
    from pipeline.stages.load import histories_of

    histories, prompt, count = histories_of(artifacts), asked.prompt, asked.picks.picks
    prompts, rows, questions = PickPrompts(asked.template, engines.renderer(), count), [], {}
    for user, offered in candidates.items():
        training = histories.item_idx[histories.offsets[user] :][: histories.num_train[user]]
        history = prompt_history(training, titles, prompt.max_titles, prompt.title_chars)
        if history is None:
            continue
        names = [str(titles[item - 1])[: prompt.title_chars] for item in offered.item_idx]
        text, reply = prompts.write(history.titles, names), picks_schema(len(names), count)
        key = keys.request_key(engines.identity_for_schemas, text, reply)
        questions[key] = Question(text, len(history.titles), reply)
        rows.append((key, user, text, history.item_idx, history.last_position))
    columns = list(map(list, zip(*rows, strict=True))) or [[] for _ in schema.REQUESTS]
    return pa.table(columns, schema=schema.REQUESTS), questions
