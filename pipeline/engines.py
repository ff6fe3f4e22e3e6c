"""The encoder and the LLM that a recipe names, opened only when something has to be computed."""

import shutil
from functools import cached_property
from typing import Any

from eimf.errors import MissingError
from eimf.esim.encode import Encoder
from eimf.esim.fake import FakeEncoder, FakeGenerator, FakeRenderer
from eimf.esim.generate import Generator, Renderer
from eimf.esim.prompt import reply_schema
from pipeline import guard
from pipeline.models import model_folder, model_identity, offline_environment
from pipeline.recipe import Recipe


def gpu_present() -> bool:
    """True on a machine with an NVIDIA driver; asks no library, so nothing heavy is loaded for it."""
    return shutil.which("nvidia-smi") is not None


class Engines:
    """What a recipe's `encoder` and `llm` sections mean on this machine."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._on_gpu = gpu_present()

    @cached_property
    def encoder_identity(self) -> dict[str, Any]:
        """What determines a text's vector: part of the keys of rows 2 and 8."""
        settings = self._recipe.encoder
        if settings.backend == "fake":
            return {"backend": "fake"}
        identity = model_identity(settings.model, settings.revision, self._recipe.folder, "encoder.model")
        return {
            "backend": "vllm",
            "model": identity,
            "dtype": settings.dtype,
            "max_tokens": settings.max_tokens,
        }

    @cached_property
    def generator_identity(self) -> dict[str, Any]:
        """What determines a reply beside the prompt: in every request key. A replayed reply is the model's own."""
        settings = self._recipe.llm
        fixed = {"sampling": self._sampling(), "seed": settings.seed, "schema": self._schema()}
        if settings.backend == "fake":
            return {"backend": "fake", **fixed}
        model = model_identity(settings.model, settings.revision, self._recipe.folder, "llm.model")
        return {"backend": "vllm", "model": model, "dtype": settings.dtype, **fixed}

    def encoder(self) -> Encoder:
        """The loaded encoder."""
        settings, speed = self._recipe.encoder, self._recipe.speed
        if settings.backend == "fake":
            return FakeEncoder()
        folder = model_folder(settings.model, settings.revision, self._recipe.folder, "encoder.model")
        offline_environment()
        guard.watch()
        from eimf.esim.engine_vllm import VllmEncoder

        return VllmEncoder(
            folder,
            max_tokens=settings.max_tokens,
            dtype=settings.dtype,
            batch=speed.encode_batch,
            memory=self._memory(gpus=1),
            on_gpu=self._on_gpu,
        )

    def renderer(self) -> Renderer:
        """The chat template of the LLM; loads its tokenizer, not its weights."""
        settings = self._recipe.llm
        if settings.backend == "fake":
            return FakeRenderer()
        folder = model_folder(settings.model, settings.revision, self._recipe.folder, "llm.model")
        offline_environment()
        from eimf.esim.engine_vllm import ChatRenderer

        return ChatRenderer(folder)

    def generator(self) -> Generator:
        """The loaded LLM. Raises MissingError under `replay`: this is called only for what no reply is recorded of."""
        settings, speed = self._recipe.llm, self._recipe.speed
        if settings.backend == "fake":
            return FakeGenerator(settings.max_interests)
        if settings.backend == "replay":
            raise MissingError(
                "llm.backend",
                "replay, but the store holds no reply to some requests",
                'set llm.backend="vllm" once',
            )
        folder = model_folder(settings.model, settings.revision, self._recipe.folder, "llm.model")
        offline_environment()
        guard.watch()
        from eimf.esim.engine_vllm import VllmGenerator

        return VllmGenerator(
            folder, sampling=self._sampling(), json_schema=self._schema(), max_prompt_tokens=settings.max_prompt_tokens,
            dtype=settings.dtype, in_flight=speed.in_flight, memory=self._memory(speed.tensor_parallel),
            on_gpu=self._on_gpu,
        )  # fmt: skip

    def _sampling(self) -> dict[str, Any]:
        settings = self._recipe.llm
        return {
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "max_tokens": settings.max_tokens,
        }

    def _schema(self) -> dict[str, Any]:
        settings = self._recipe.llm
        return reply_schema(
            min_interests=settings.min_interests, max_interests=settings.max_interests,
            interest_chars=settings.interest_chars, max_titles=self._recipe.prompt.max_titles,
        )  # fmt: skip

    def _memory(self, gpus: int) -> dict[str, Any]:
        from eimf.esim.engine_vllm import memory_options

        speed = self._recipe.speed
        return memory_options(
            on_gpu=self._on_gpu,
            kv_cache_gb=speed.kv_cache_gb,
            gpu_memory=speed.gpu_memory,
            tensor_parallel=gpus,
        )
