"""The encoder and the LLM, started only when something has to be computed."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eimf.config import EncoderSettings, LLMSettings, RuntimeSettings
from eimf.errors import MissingError, SettingError
from eimf.esim.encode import Encoder
from eimf.esim.fake import FakeEncoder, FakeGenerator, FakeRenderer
from eimf.esim.generate import Generator, Renderer
from eimf.esim.openai_format import CheckedForm, Messages, Rendered
from eimf.esim.prompt import reply_schema
from eimf.esim.served import MessagesRenderer, served_name
from eimf.store import keys
from pipeline.backends import watchdog
from pipeline.backends.dtype import fastest_dtype, gpu_present
from pipeline.backends.endpoint import api_key, checked_endpoint
from pipeline.backends.main_module import without_main_module
from pipeline.backends.model_source import model_folder, model_identity, offline_environment
from pipeline.console import info

if TYPE_CHECKING:
    from eimf.esim.chat import ChatRenderer

_OWN_SCHEMA = "of the request"
_DTYPES = ("bfloat16", "float32", "float16")


class Engines:
    """The encoder and the LLM of two settings sections on this machine. Close it: a loaded encoder stays loaded for the
    next texts."""

    def __init__(
        self,
        encoder: EncoderSettings,
        llm: LLMSettings,
        runtime: RuntimeSettings,
        *,
        max_titles: int,
        closed_vocabulary: bool,
        folder: Path,
        replies: Path,
    ) -> None:
        """The LLM is shown `max_titles`; with a closed vocabulary every request has a JSON schema of its own. `folder`:
        where relative paths of models start. `replies`: the folder of recorded replies, which `llm.backend="replay"`
        reads."""
        self._encoder_settings, self._llm, self._runtime = encoder, llm, runtime
        self._folder, self._replies = folder, replies
        self._on_gpu = gpu_present()
        self.closed_vocabulary = closed_vocabulary
        self.json_schema = reply_schema(
            min_interests=llm.min_interests,
            max_interests=llm.max_interests,
            interest_chars=llm.interest_chars,
            max_titles=max_titles,
        )
        """That of every reply, without a closed vocabulary."""
        self._encoder: Encoder | None = None
        self.seconds: dict[str, float] = {}
        """How long each engine took to start, by its setting."""

    @cached_property
    def encoder_identity(self) -> dict[str, Any]:
        """What determines a text's vector: part of the keys of stages 2 and 8."""
        settings = self._encoder_settings
        if settings.backend == "fake":
            return {"backend": "fake"}
        identity = model_identity(settings.model, settings.revision, self._folder, "encoder.model")
        return {
            "backend": "vllm",
            "model": identity,
            "dtype": self._dtype(settings.dtype),
            "max_tokens": settings.max_tokens,
        }

    @cached_property
    def generator_identity(self) -> dict[str, Any]:
        """Everything but the prompt that determines a reply: part of every request key. Replayed replies have the
        model's."""
        return self.identity_for(_OWN_SCHEMA if self.closed_vocabulary else self.json_schema, self._llm.max_tokens)

    @property
    def identity_for_schemas(self) -> dict[str, Any]:
        """The same for requests of which each has a JSON schema of its own."""
        return self.identity_for(_OWN_SCHEMA, self._llm.max_tokens)

    def identity_for(self, reply_schema: str | Mapping[str, Any], max_tokens: int) -> dict[str, Any]:
        """The same for replies of another JSON schema and length."""
        settings = self._llm
        fixed = {"sampling": self._sampling(max_tokens), "seed": settings.seed, "schema": reply_schema}
        if settings.backend == "fake":
            return {"backend": "fake", **fixed}
        if name := served_name(settings.model):
            return {"backend": "served", "model": name, **fixed}
        model = model_identity(settings.model, settings.revision, self._folder, "llm.model")
        identity = {"backend": "vllm", "model": model, "dtype": self._dtype(settings.dtype), **fixed}
        if settings.backend == "replay" and settings.dtype == "auto":
            return self._recorded(identity)
        return identity

    def _sampling(self, max_tokens: int) -> dict[str, Any]:
        """vLLM's sampling parameters except the seed."""
        return {"temperature": self._llm.temperature, "top_p": self._llm.top_p, "max_tokens": max_tokens}

    def _recorded(self, identity: dict[str, Any]) -> dict[str, Any]:
        """The identity with this machine's dtype, or with another one if the store has only replies for that."""
        for dtype in (identity["dtype"], *_DTYPES):
            candidate = {**identity, "dtype": dtype}
            if (self._replies / keys.digest(candidate)).is_dir():
                return candidate
        return identity

    def encoder(self, adapted: Path | None = None) -> Encoder:
        """The loaded encoder, from the folder `adapted` if it was adapted: in one run always from the same. It stays
        loaded until `close`, or until the LLM needs the GPU."""
        if self._encoder is None:
            self._encoder = self._load_encoder(adapted)
        return self._encoder

    def encoder_folder(self) -> Path:
        """The directory of the encoder; fetches it if necessary. Raises ModelError or MissingError."""
        settings = self._encoder_settings
        return model_folder(settings.model, settings.revision, self._folder, "encoder.model")

    @property
    def has_fake_encoder(self) -> bool:
        return self._encoder_settings.backend == "fake"

    def close(self) -> None:
        """End the encoder, if it was loaded."""
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None

    def _load_encoder(self, adapted: Path | None) -> Encoder:
        settings = self._encoder_settings
        if settings.backend == "fake":
            return FakeEncoder()
        folder = adapted or self.encoder_folder()
        with self._starting("encoder"), without_main_module():
            from eimf.esim.vllm_engine import VllmEncoder

            return VllmEncoder(
                folder,
                max_tokens=settings.max_tokens,
                dtype=self.encoder_identity["dtype"],
                batch_size=self._runtime.encode_batch_size,
                memory=self._memory(1, self._on_gpu),
                on_gpu=self._on_gpu,
            )

    def renderer(self) -> Renderer:
        """The chat template of the LLM; loads its tokenizer, not its weights."""
        if self._llm.backend == "fake":
            return FakeRenderer()
        return MessagesRenderer() if served_name(self._llm.model) else self._chat

    @cached_property
    def _chat(self) -> "ChatRenderer":
        settings = self._llm
        folder = model_folder(settings.model, settings.revision, self._folder, "llm.model")
        offline_environment(self._on_gpu)
        from eimf.esim.chat import ChatRenderer

        return ChatRenderer(folder)

    def generator(self, max_tokens: int | None = None) -> Generator:
        """The loaded LLM, for replies of at most `max_tokens` (default: `llm.max_tokens`). Raises MissingError
        under `replay`: only a request without a recorded reply calls this."""
        settings = self._llm
        if served_name(settings.model) and settings.backend == "vllm" and self._runtime.engine != "http":
            problem = f"{settings.model}, which only a server has"
            raise SettingError("llm.model", problem, 'set runtime.engine="http" and runtime.endpoint')
        if self._runtime.engine == "ray" and settings.backend != "replay":
            return self._on_ray(settings.max_tokens if max_tokens is None else max_tokens)
        if settings.backend == "fake":
            return FakeGenerator(settings.max_interests)
        if settings.backend == "replay":
            dtype = self.generator_identity.get("dtype", "any type")
            problem = f"replay, but the store holds no reply in {dtype} to some requests"
            raise MissingError("llm.backend", problem, 'set llm.backend="vllm" once, or llm.dtype as it was then')
        if self._runtime.engine == "http":
            return self._http_generator(settings.max_tokens if max_tokens is None else max_tokens)
        chat = self._chat  # fetches the model if necessary, before the hub is declared offline
        if self._on_gpu:  # the LLM needs its memory
            self.close()
        with self._starting("llm"), without_main_module():
            from eimf.esim.vllm_engine import VllmGenerator

            longest = settings.max_tokens if max_tokens is None else max_tokens
            return VllmGenerator(chat, **self.vllm_options(longest, self._on_gpu))

    def _on_ray(self, max_tokens: int) -> Generator:
        """The LLM on a Ray cluster."""
        from eimf.esim.ray_engine import RayGenerator
        from pipeline.backends.ray_cluster import RayCluster, ReplicaOfVllm

        settings = self._llm
        if settings.backend != "fake" and self._on_gpu:
            self.close()
        cluster = RayCluster(self._runtime.ray_address)
        try:
            pool = cluster.pool(self._runtime)
        except SettingError:
            cluster.disconnect()
            raise
        if settings.backend == "fake":
            return RayGenerator(cluster, partial(FakeGenerator, settings.max_interests), pool, time.monotonic)
        replica = ReplicaOfVllm(
            settings.model,
            settings.revision,
            self._folder,
            self.generator_identity["model"],
            self.vllm_options(max_tokens, on_gpu=pool.gpus > 0),
        )
        with self._starting("llm"):
            return RayGenerator(cluster, replica, pool, time.monotonic)

    def vllm_options(self, max_tokens: int, on_gpu: bool) -> dict[str, Any]:
        """The options of `VllmGenerator`, for replies of at most `max_tokens`."""
        return {
            "sampling": self._sampling(max_tokens),
            "max_prompt_tokens": self._llm.max_prompt_tokens,
            "dtype": self.generator_identity["dtype"],
            "concurrent_requests": self._runtime.concurrent_requests,
            "memory": self._memory(self._runtime.tensor_parallel_size, on_gpu),
            "on_gpu": on_gpu,
        }

    def _prompt_form(self) -> CheckedForm:
        """How prompts of this LLM are sent to a server: rendered here if the tokenizer is here."""
        if served_name(self._llm.model):
            return Messages()
        return Rendered(self._chat.tokens, self._llm.max_prompt_tokens)

    def _http_generator(self, max_tokens: int) -> Generator:
        from eimf.esim.http_engine import HttpGenerator

        runtime, model = self._runtime, self._llm.model
        on_hub = self.generator_identity["model"].startswith("hub ")
        return HttpGenerator(
            checked_endpoint(runtime.endpoint),
            api_key(),
            self._prompt_form(),
            model=served_name(model) or runtime.served_model,
            expected=model if on_hub else None,
            sampling=self._sampling(max_tokens),
            concurrent_requests=runtime.concurrent_requests,
            request_seconds=runtime.request_seconds,
            say=info,
        )

    @contextmanager
    def _starting(self, section: str) -> Iterator[None]:
        """Prepare the environment of an engine that starts in this context, print a line, and time the start."""
        dtype = (self.encoder_identity if section == "encoder" else self.generator_identity)["dtype"]
        info(f"      starting {section}.model, {section}.dtype {dtype}")
        offline_environment(self._on_gpu)
        watchdog.watch()
        begin = time.monotonic()
        yield
        self.seconds[section] = time.monotonic() - begin

    def _dtype(self, setting: str) -> str:
        return fastest_dtype(self._on_gpu) if setting == "auto" else setting

    def _memory(self, gpus: int, on_gpu: bool) -> dict[str, Any]:
        from eimf.esim.vllm_engine import memory_options

        runtime = self._runtime
        return memory_options(
            on_gpu=on_gpu,
            cpu_kv_cache_gib=runtime.cpu_kv_cache_gib,
            gpu_memory_utilization=runtime.gpu_memory_utilization,
            tensor_parallel_size=gpus,
        )
