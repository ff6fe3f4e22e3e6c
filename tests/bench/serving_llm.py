"""An LLM in the loop: what the default model of stage one takes to infer the interests of a user, on the same core."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from eimf.esim.generate import Request
from eimf.esim.prompt import PromptWriter, load_template, reply_schema
from eimf.store.artifact import Store
from pipeline.recipe import load_recipe
from pipeline.stages.stage_one import engines_of

ALONE, BATCH = 12, 32
TITLES = """Toy Story (1995)
GoldenEye (1995)
Twelve Monkeys (1995)
Babe (1995)
Dead Man Walking (1995)
Seven (1995)
The Usual Suspects (1995)
Braveheart (1995)
Taxi Driver (1976)
Apollo 13 (1995)
Batman Forever (1995)
Crumb (1994)
Clerks (1994)
Dolores Claiborne (1994)
Eat Drink Man Woman (1994)
Ed Wood (1994)
Hoop Dreams (1994)
Star Wars (1977)
Legends of the Fall (1994)
Pulp Fiction (1994)""".splitlines()


def measured() -> Iterator[tuple[str, np.ndarray]]:
    """What was asked, and the seconds of each request; in a batch, its seconds divided by its requests."""
    os.environ.pop("OPENBLAS_NUM_THREADS", None)
    with tempfile.TemporaryDirectory() as folder:
        recipe = load_recipe(
            "ml-100k", None, ["prompt.vocabulary=free", "runtime.threads=1", f"runtime.concurrent_requests={BATCH}"]
        )
        engines = engines_of(recipe, Store(Path(folder)))
        writer = PromptWriter(load_template(recipe.prompt.template, recipe.folder), engines.renderer())
        rng, llm = np.random.default_rng(0), recipe.llm
        reply = reply_schema(
            min_interests=llm.min_interests,
            max_interests=llm.max_interests,
            interest_chars=llm.interest_chars,
            max_titles=len(TITLES),
        )
        prompts = [
            writer.write([TITLES[row] for row in rng.permutation(len(TITLES))]) for _ in range(2 + ALONE + BATCH)
        ]
        requests = [Request(str(number), prompt, number, reply) for number, prompt in enumerate(prompts)]
        with closing(engines):
            generator = engines.generator()
            list(generator.generate(requests[:2]))
            alone = [_seconds(generator, [request]) for request in requests[2 : 2 + ALONE]]
            yield "LLM, one request at a time", np.array(alone)
            yield f"LLM, {BATCH} at a time", np.full(BATCH, _seconds(generator, requests[-BATCH:]) / BATCH)
            generator.close()


def _seconds(generator, requests: list[Request]) -> float:
    begin = time.perf_counter()
    assert len(list(generator.generate(requests))) == len(requests)
    return time.perf_counter() - begin
