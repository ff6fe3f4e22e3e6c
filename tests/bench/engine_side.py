"""One engine of tests/bench/engines.py in a process of its own: it answers, and writes a `Measured` as JSON."""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eimf import schema
from eimf.esim.generate import Generator, Question, Replies, Reply, Request, generate_missing
from eimf.esim.prompt import load_template
from eimf.store.artifact import Artifact, Store
from eimf.store.keys import digest
from eimf.store.replies import ReplyStore
from pipeline.backends import watchdog
from pipeline.backends.dtype import gpu_present
from pipeline.backends.engines import Engines
from pipeline.backends.model_source import model_folder, offline_environment
from pipeline.recipe import Recipe, load_recipe
from pipeline.stages.interests import questions_of, reply_parser
from pipeline.stages.stage import find_or_build
from pipeline.stages.stage_one import engines_of, stage_one
from pipeline.stores import open_store
from tests.bench import engine_server

ENGINES = ("bare", "vllm", "ray", "http")


@dataclass(frozen=True)
class Measured:
    """Seconds of the start of an engine and of its answers, their tokens, those of the prompts that were in the prefix
    cache, how many requests were sent, and the last reply to each."""

    start_seconds: float
    seconds: float
    prompt_tokens: int
    reply_tokens: int
    cached_tokens: int
    sent: int
    replies: dict[str, str]


@dataclass(frozen=True)
class Row7:
    """What stage 7 of a recipe asks: some of its `questions` by request key."""

    recipe: Recipe
    store: Store
    engines: Engines
    questions: dict[str, Question]

    @property
    def on_gpu(self) -> bool:
        return gpu_present()

    @property
    def model(self) -> Path:
        llm = self.recipe.llm
        return model_folder(llm.model, llm.revision, self.recipe.folder, "llm.model")

    @property
    def sampling(self) -> dict[str, Any]:
        llm = self.recipe.llm
        return {"temperature": llm.temperature, "top_p": llm.top_p, "max_tokens": llm.max_tokens}

    def options(self) -> dict[str, Any]:
        """Options of `vllm.LLM` that the engine `vllm` has too."""
        from eimf.esim.vllm_engine import memory_options

        runtime, length = self.recipe.runtime, self.recipe.llm.max_prompt_tokens + self.recipe.llm.max_tokens
        on_cpu: dict[str, Any] = {
            "enforce_eager": True,
            "distributed_executor_backend": "mp",
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(4096, length),
        }
        return {
            "dtype": self.engines.generator_identity["dtype"],
            "max_model_len": length,
            "max_num_seqs": runtime.concurrent_requests,
            "load_format": "safetensors",
            **({} if self.on_gpu else on_cpu),
            **memory_options(
                on_gpu=self.on_gpu,
                cpu_kv_cache_gib=runtime.cpu_kv_cache_gib,
                gpu_memory_utilization=runtime.gpu_memory_utilization,
                tensor_parallel_size=runtime.tensor_parallel_size,
            ),
        }


def row7(recipe: Recipe, address: str, every: int) -> Row7:
    """Builds what is before row 7 in the store at `address`, if it is missing, and takes every so many requests."""
    store, artifacts = open_store(address), dict[str, Artifact]()
    with closing(engines_of(recipe, store)) as engines:
        for stage in stage_one(recipe, engines, store):
            artifacts[stage.kind], _ = find_or_build(stage, store, artifacts)
            if stage.kind == "requests":
                break
    questions = questions_of(artifacts["requests"].table("requests"), recipe.llm, engines)
    return Row7(recipe, store, engines, dict(list(questions.items())[::every]))


class Bare:
    """vLLM by one call of its own interface."""

    def __init__(self, row: Row7) -> None:
        from vllm import LLM

        self._sampling = row.sampling
        self._llm: Any = LLM(str(row.model), disable_log_stats=True, **row.options())
        self.engine = self._llm.llm_engine

    def generate(self, requests: Sequence[Request]) -> Iterator[Reply]:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        parameters = [
            SamplingParams(
                **self._sampling,
                seed=request.seed,
                structured_outputs=StructuredOutputsParams(json=request.json_schema, disable_any_whitespace=True),
            )
            for request in requests
        ]
        outputs = self._llm.generate([request.prompt for request in requests], parameters, use_tqdm=False)
        for request, output in zip(requests, outputs, strict=True):
            best = output.outputs[0]
            tokens = len(output.prompt_token_ids), len(best.token_ids)
            yield Reply(request.key, best.text, *tokens, best.finish_reason)

    def close(self) -> None:
        self.engine.engine_core.shutdown()


def count_cached(engine: Any, path: Path) -> None:
    """Let an engine of vLLM add a line to the file `path` for each reply: how many tokens of its prompt were cached."""
    step = engine.step

    def counting() -> Any:
        outputs = step()
        if finished := [str(output.num_cached_tokens or 0) for output in outputs if output.finished]:
            with path.open("a") as file:
                file.write("\n".join([*finished, ""]))
        return outputs

    engine.step = counting


@dataclass(frozen=True)
class CountedReplica:
    """A replica on Ray that counts in a file."""

    make: Callable[[], Any]
    counts: Path

    def __call__(self) -> Generator:
        generator = self.make()
        count_cached(generator._llm.llm_engine, self.counts)
        return generator


@contextmanager
def bare(row: Row7, counts: Path) -> Iterator[Generator]:
    """The call that all others are compared with."""
    watchdog.watch()
    with closing(Bare(row)) as generator:
        count_cached(generator.engine, counts)
        yield generator


@contextmanager
def in_process(row: Row7, counts: Path) -> Iterator[Generator]:
    """runtime.engine="vllm"."""
    with closing(row.engines.generator()) as generator:
        count_cached(generator._llm.llm_engine, counts)
        yield generator


@contextmanager
def on_ray(row: Row7, counts: Path) -> Iterator[Generator]:
    """runtime.engine="ray", on a cluster of this machine."""
    from eimf.esim.ray_engine import RayGenerator
    from pipeline.backends.ray_cluster import RayCluster, ReplicaOfVllm

    llm = row.recipe.llm
    cluster = RayCluster(row.recipe.runtime.ray_address)
    pool = cluster.pool(row.recipe.runtime)
    options = row.engines.vllm_options(llm.max_tokens, on_gpu=pool.gpus > 0)
    identity = row.engines.generator_identity["model"]
    replica = CountedReplica(ReplicaOfVllm(llm.model, llm.revision, row.recipe.folder, identity, options), counts)
    with closing(RayGenerator(cluster, replica, pool, time.monotonic)) as generator:
        yield generator


@contextmanager
def over_http(row: Row7, counts: Path) -> Iterator[Generator]:
    """runtime.engine="http", from a server of vLLM on this machine with the options of the call."""
    watchdog.watch()
    with engine_server.serving(row.model, row.options()) as address:
        there = {"engine": "http", "endpoint": f"{address}/v1", "served_model": engine_server.NAME}
        runtime = row.recipe.runtime.model_copy(update=there)
        engines = engines_of(row.recipe.model_copy(update={"runtime": runtime}), row.store)
        with closing(engines.generator()) as generator:
            yield generator
        counts.write_text(engine_server.cached_tokens(address))


class _Kept:
    """An engine that `generate_missing` does not close, so that its end is not timed."""

    def __init__(self, generator: Generator) -> None:
        self.generate = generator.generate

    def close(self) -> None:
        """Later."""


def measure(row: Row7, engine: str) -> Measured:
    """Row 7 as in `eimf esim`: what is missing is asked, and all is kept in a store of its own."""
    open_engine = dict(zip(ENGINES, (bare, in_process, on_ray, over_http), strict=True))[engine]
    parse = reply_parser(row.recipe.llm, load_template(row.recipe.prompt.template, row.recipe.folder))
    offline_environment(row.on_gpu)
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "cached"
        store = ReplyStore(Path(folder), digest(row.engines.generator_identity))
        replies = Replies(store.find(row.questions.keys()), row.questions, parse, row.recipe.llm.retries)
        begin = time.monotonic()
        with open_engine(row, counts) as generator:
            started = time.monotonic()
            sent = generate_missing(
                lambda: _Kept(generator),
                row.questions,
                replies,
                chunk_size=row.recipe.runtime.reply_chunk_size,
                save=store.append,
                on_progress=lambda _: None,
            )
            finished = time.monotonic()
        rows = [replies.last(key).row for key in row.questions]
        return Measured(
            start_seconds=started - begin,
            seconds=finished - started,
            prompt_tokens=sum(row[schema.PROMPT_TOKENS] for row in rows),
            reply_tokens=sum(row[schema.REPLY_TOKENS] for row in rows),
            cached_tokens=int(sum(map(float, counts.read_text().split()))),
            sent=sent,
            replies={row[schema.REQUEST_KEY]: row[schema.REPLY] for row in rows},
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("--recipe", type=Path, default=None)
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--store", required=True)
    parser.add_argument("--every", type=int, required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--result", type=Path, required=True)
    given = parser.parse_args()
    recipe = load_recipe(given.dataset, given.recipe, given.set)
    measured = measure(row7(recipe, given.store, given.every), given.engine)
    given.result.write_text(json.dumps(asdict(measured)))


if __name__ == "__main__":
    main()
