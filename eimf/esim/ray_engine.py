"""An LLM on a Ray cluster: a pool of replicas, each an actor with an engine of its own, that share the requests.

Requests go out in shards, replies come back while a shard is still being answered. What a replica that died or fell
silent has not answered goes to another one, so a reply is never lost or repeated. No Ray Data: it can hang on an error
of CUDA and cannot resume (ray-project/ray #59986, #59522). The engine is given as a function, and this module knows no
vLLM.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Protocol

from eimf.errors import ModelError, SettingError, UserError
from eimf.esim.generate import Generator, Reply, Request

_SHARD = 16
"""Most requests of a shard, in multiples of those that a replica decodes at a time: at its end there are fewer."""
_FLUSH_SECONDS, _POLL_SECONDS = 0.5, 1.0
"""Replies travel together if they finish within so long; how long the pool sleeps if none arrives."""
_LOGS = "/tmp/ray/session_latest/logs of its node"


class Cluster(Protocol):
    """A connection to a Ray cluster."""

    def check(self) -> None:
        """Raises MissingError if the cluster is gone."""
        ...

    def disconnect(self) -> None: ...


@dataclass(frozen=True)
class Pool:
    """The size of a pool: `replicas` engines with `gpus` and `cpus` each, which decode `concurrent_requests` at a time.

    A replica that does not start within `start_seconds`, or finishes no reply for `deadline_seconds`, is ended and
    started again, at most `restarts` times in a row; then it is given up, and with the last one the run.
    """

    replicas: int
    gpus: int
    cpus: int
    concurrent_requests: int
    deadline_seconds: float
    start_seconds: float = 3600.0
    restarts: int = 3

    def shard_size(self, num_requests: int) -> int:
        """Requests of the next shard if so many are left: fewer towards the end, so that all replicas end together."""
        share = ceil(num_requests / (self.replicas if self.replicas == 1 else 2 * self.replicas))
        return min(max(share, self.concurrent_requests), _SHARD * self.concurrent_requests)


class _Replica:
    """The actor: one engine in a process of its own."""

    def start(self, make: Callable[[], Generator]) -> None:
        self._generator = make()

    def answer(self, requests: Sequence[Request], clock: Callable[[], float]) -> Iterator[list[Reply]]:
        """Replies as they finish, several at a time if they finish together."""
        finished, sent = [], clock()
        for reply in self._generator.generate(requests):
            finished.append(reply)
            if clock() - sent >= _FLUSH_SECONDS:
                yield finished
                finished, sent = [], clock()
        yield finished


@dataclass
class _Shard:
    """Requests that have no reply yet, by key; `failures` counts the replicas that failed at it without a reply."""

    requests: dict[str, Request]
    failures: int = 0


@dataclass
class _Waiting:
    """What no replica works on: `fresh` requests were never sent, `returned` shards were, and come first."""

    fresh: deque[Request]
    returned: deque[_Shard]

    def __bool__(self) -> bool:
        return bool(self.fresh or self.returned)

    def next(self, pool: Pool) -> _Shard:
        if self.returned:
            return self.returned.popleft()
        size = min(pool.shard_size(len(self.fresh)), len(self.fresh))
        requests = [self.fresh.popleft() for _ in range(size)]
        return _Shard({request.key: request for request in requests})


@dataclass(eq=False)
class _Slot:
    """The place of one replica: its actor, what it works on (without a shard: its start), and when it last gave a sign
    of life; `failures` counts its restarts since its last reply."""

    actor: Any = None
    work: Any = None
    since: float = 0.0
    shard: _Shard | None = None
    failures: int = 0


class RayGenerator:
    """Answers requests by the replicas of a pool."""

    def __init__(self, cluster: Cluster, make: Callable[[], Generator], pool: Pool, clock: Callable[[], float]) -> None:
        """`make` loads the engine, in the process of a replica: it is pickled. `clock` counts seconds. Returns when the
        first replica is ready; raises what `make` raised if none can start."""
        self._cluster, self._make, self._pool, self._clock = cluster, make, pool, clock
        self._slots = [self._started(_Slot()) for _ in range(pool.replicas)]
        try:
            while all(slot.work is not None for slot in self._slots):
                list(self._replies(_Waiting(deque(), deque())))
        except BaseException:
            self.close()
            raise

    def generate(self, requests: Sequence[Request]) -> Iterator[Reply]:
        """Replies as they finish. Read them all before the next call. Raises MissingError if the cluster is gone, and
        ModelError if replicas fail again and again."""
        waiting = _Waiting(deque(requests), deque())
        while waiting or any(slot.shard for slot in self._slots):
            for slot in self._slots:
                if slot.work is None and waiting:
                    self._send(slot, waiting)
            yield from self._replies(waiting)

    def close(self) -> None:
        """End all replicas and leave the cluster."""
        self._cluster.disconnect()

    def _started(self, slot: _Slot) -> _Slot:
        """The place with a new replica, which is starting."""
        import ray

        slot.actor = (
            ray.remote(_Replica)
            .options(num_cpus=self._pool.cpus, num_gpus=self._pool.gpus, scheduling_strategy="SPREAD", max_restarts=0)
            .remote()
        )
        slot.work, slot.since, slot.shard = slot.actor.start.remote(self._make), self._clock(), None
        return slot

    def _send(self, slot: _Slot, waiting: _Waiting) -> None:
        """Give an idle replica a shard."""
        slot.shard = waiting.next(self._pool)
        answer = slot.actor.answer.options(num_returns="streaming")
        slot.work, slot.since = answer.remote(list(slot.shard.requests.values()), self._clock), self._clock()

    def _replies(self, waiting: _Waiting) -> Iterator[Reply]:
        """What has arrived from all replicas. One that failed or was silent for too long is started again, and what it
        has not answered waits again."""
        import ray

        self._cluster.check()
        working = {slot.work: slot for slot in self._slots if slot.work is not None}
        ray.wait(list(working), num_returns=1, timeout=_POLL_SECONDS)
        now = self._clock()
        ready, silent = ray.wait(list(working), num_returns=len(working), timeout=0)
        for slot in map(working.__getitem__, silent):
            limit = self._pool.deadline_seconds if slot.shard else self._pool.start_seconds
            if now - slot.since > limit:
                event = "finished no reply" if slot.shard else "did not start"
                self._fail(slot, waiting, f"a replica {event} within {limit:g} seconds")
        for slot in map(working.__getitem__, ready):
            slot.since = now
            try:
                if slot.shard is None:
                    ray.get(slot.work)
                    slot.work = None
                else:
                    yield from _awaited(slot, ray.get(next(slot.work)))
            except StopIteration:
                self._finish(slot, waiting)
            except ray.exceptions.RayError as error:
                self._broken(slot, waiting, error)

    def _finish(self, slot: _Slot, waiting: _Waiting) -> None:
        """The replica has read its shard to the end."""
        if slot.shard and slot.shard.requests:
            return self._fail(slot, waiting, f"a replica left {len(slot.shard.requests)} requests without a reply")
        slot.work = slot.shard = None

    def _broken(self, slot: _Slot, waiting: _Waiting, error: Exception) -> None:
        """The replica, or its process, has ended with an error. Raises a fault of the recipe, which every replica
        would have."""
        cause = getattr(error, "cause", None)
        if slot.shard is None and isinstance(cause, UserError):
            return self._give_up(slot, cause)
        if isinstance(cause, SettingError):
            raise cause
        lines = str(cause or error).split("\n")
        self._fail(slot, waiting, f"a replica failed ({' '.join(lines[-1].split())[:200] or type(error).__name__})")

    def _fail(self, slot: _Slot, waiting: _Waiting, reason: str) -> None:
        """Start a replica again, or give it up; what it has not answered is the next that is sent."""
        import ray

        ray.kill(slot.actor)
        slot.failures += 1
        again = f"run the same command again: finished replies are kept; what the replicas wrote is in {_LOGS}"
        error = ModelError("llm.model", reason, again)
        if slot.shard and slot.shard.requests:
            slot.shard.failures += 1
            if slot.shard.failures > self._pool.restarts:
                raise error
            waiting.returned.append(slot.shard)
        if slot.failures > self._pool.restarts:
            self._give_up(slot, error)
        else:
            self._started(slot)

    def _give_up(self, slot: _Slot, error: UserError) -> None:
        """Go on without this replica. Raises `error` if it was the last."""
        self._slots.remove(slot)
        if not self._slots:
            raise error


def _awaited(slot: _Slot, replies: Sequence[Reply]) -> Iterator[Reply]:
    """Those replies to the shard of a replica that are not there yet."""
    for reply in replies:
        if slot.shard and slot.shard.requests.pop(reply.key, None) is not None:
            slot.failures = slot.shard.failures = 0
            yield reply
