"""vLLM behind our two interfaces. Only this module imports it, and only when a model is loaded."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from eimf.errors import MissingError, ModelError, SettingError
from eimf.esim.chat import ChatRenderer, cannot_load, check_prompt_length
from eimf.esim.generate import Reply, Request

_GIB = 1 << 30


def _engine(model: Path, field: str, on_gpu: bool, **options: Any) -> Any:
    """A loaded `vllm.LLM`. Raises MissingError without vLLM, ModelError if it cannot serve the model."""
    try:
        from vllm import LLM
    except ImportError as error:
        raise MissingError(
            "vllm", f"not usable here ({error})", "run `make esim`, or install the esim extra (esim-cpu without a GPU)"
        ) from error
    if not on_gpu:
        # Eager: compilation costs more than it saves at these sizes. The model runs in a process of its own, which gets
        # the OpenMP threads of vLLM.
        options |= {"enforce_eager": True, "distributed_executor_backend": "mp"}
    try:
        # No Python code of the model, and no weights but safetensors.
        return LLM(
            str(model),
            disable_log_stats=True,
            use_tqdm_on_load=False,
            trust_remote_code=False,
            load_format="safetensors",
            **options,
        )
    except (ValueError, OSError, RuntimeError, NotImplementedError) as error:
        lines = [line for line in str(error).splitlines() if line.strip() and "errors.pydantic.dev" not in line]
        problem = f"cannot be loaded by vLLM ({lines[-1].strip()[:200] if lines else type(error).__name__})"
        hint = "give a model that vLLM serves, and enough memory"
        raise cannot_load(model, field, error, problem, hint) from error


@contextmanager
def _alive(field: str) -> Iterator[None]:
    """Raise ModelError if the engine fails while it works; its process may be dead."""
    from vllm.v1.engine.exceptions import EngineDeadError

    try:
        yield
    except (EngineDeadError, RuntimeError) as error:
        problem = "the vLLM engine failed, perhaps because memory ran out; its last lines are above"
        raise ModelError(field, problem, "run the same command again: finished replies are kept") from error


class VllmGenerator:
    """Continuous batching over all requests; replies are yielded as they finish."""

    def __init__(
        self,
        chat: ChatRenderer,
        *,
        sampling: Mapping[str, Any],
        max_prompt_tokens: int,
        dtype: str,
        concurrent_requests: int,
        memory: Mapping[str, Any],
        on_gpu: bool,
    ) -> None:
        """Loads the model of `chat`. `sampling` has vLLM's sampling parameters except the seed, `memory` what
        `memory_options` returns."""
        self._chat = chat
        self._sampling = dict(sampling)
        self._max_prompt_tokens = max_prompt_tokens
        length = max_prompt_tokens + int(sampling["max_tokens"])
        batch = {} if on_gpu else {"enable_chunked_prefill": False, "max_num_batched_tokens": max(4096, length)}
        # On a CPU, vLLM 0.32 stops at a seeded request whose prompt is split over two steps: only whole prompts there.
        self._threads = _threads()
        self._llm = _engine(
            chat.model,
            "llm.model",
            on_gpu,
            dtype=dtype,
            max_model_len=length,
            max_num_seqs=concurrent_requests,
            **batch,
            **memory,
        )

    def generate(self, requests: Sequence[Request]) -> Iterator[Reply]:
        engine = self._llm.llm_engine
        prompts = [self._chat.tokens(request.prompt) for request in requests]
        check_prompt_length(max(map(len, prompts), default=0), self._max_prompt_tokens)
        with _alive("llm.model"):
            for request, tokens in zip(requests, prompts, strict=True):
                engine.add_request(request.key, {"prompt_token_ids": tokens}, self._parameters(request))
            while engine.has_unfinished_requests():
                for output in engine.step():
                    if output.finished:
                        yield _reply(output)

    def close(self) -> None:
        _shut_down(self._llm, self._threads)

    def _parameters(self, request: Request) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        structure = StructuredOutputsParams(json=dict(request.json_schema), disable_any_whitespace=True)
        final = RequestOutputKind.FINAL_ONLY  # by default, every step makes an output of every request
        return SamplingParams(**self._sampling, seed=request.seed, structured_outputs=structure, output_kind=final)


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _shut_down(llm: Any, threads: int) -> None:
    """End the engine's processes now: at the interpreter's exit they can delay it by minutes. Give torch its `threads`
    back: an engine with its scheduler in this process sets them to one, and a later training would be slow and have
    other results."""
    import torch

    llm.llm_engine.engine_core.shutdown()
    torch.set_num_threads(threads)


def _reply(output: Any) -> Reply:
    best = output.outputs[0]
    tokens = len(output.prompt_token_ids), len(best.token_ids)
    return Reply(output.request_id, best.text, *tokens, best.finish_reason)


class VllmEncoder:
    """vLLM's pooling runner."""

    def __init__(
        self, model: Path, *, max_tokens: int, dtype: str, batch_size: int, memory: Mapping[str, Any], on_gpu: bool
    ) -> None:
        self._max_tokens = max_tokens
        self._threads = _threads()
        self._llm = _engine(
            model, "encoder.model", on_gpu, runner="pooling", dtype=dtype, max_num_seqs=batch_size, **memory
        )
        limit = self._llm.llm_engine.model_config.max_model_len
        if max_tokens > limit:
            raise SettingError(
                "encoder.max_tokens", f"{max_tokens}, but {model.name} reads {limit}", f"set it to {limit} or less"
            )

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        options = {"truncate_prompt_tokens": self._max_tokens}
        with _alive("encoder.model"):
            outputs = self._llm.embed(list(texts), use_tqdm=False, tokenization_kwargs=options)
        return np.asarray([output.outputs.embedding for output in outputs], dtype=np.float32)

    def close(self) -> None:
        _shut_down(self._llm, self._threads)


def memory_options(
    *, on_gpu: bool, cpu_kv_cache_gib: float, gpu_memory_utilization: float, tensor_parallel_size: int
) -> dict[str, Any]:
    """The engine's memory settings for this machine."""
    if on_gpu:
        return {"gpu_memory_utilization": gpu_memory_utilization, "tensor_parallel_size": tensor_parallel_size}
    return {"kv_cache_memory_bytes": int(cpu_kv_cache_gib * _GIB)}
