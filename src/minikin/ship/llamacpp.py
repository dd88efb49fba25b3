"""llama.cpp itself, asked what it makes of a GGUF file: its tokens, its answers, its probabilities.

Runs inside this process through the package xllamacpp, which comes with `minikin[check]`; this module can be
imported without it. Questions go over a loopback address, because only there llama.cpp takes and gives token ids.
"""

import importlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Literal, final
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from minikin.base.errors import ExportError
from minikin.text.chat import Message

CacheType = Literal["f32", "f16"]
# between texts that are asked about together: llama.cpp passes ids in a text through, even this, which no text can have
_BETWEEN = -1
_FORCE = 1e6


@final
class LlamaCpp:
    """One GGUF file, loaded; raises ExportError if llama.cpp is not installed or refuses the file.

    An `f32` cache is for exact comparisons, and goes with plain attention; llama.cpp's own choice is `f16` and
    flash attention. What is left then is its GELU, a table in float16. `context` is in tokens.
    """

    def __init__(self, path: Path, cache: CacheType = "f16", threads: int = 1, context: int = 512) -> None:
        if not path.is_file():
            raise ExportError(f"{path}: is missing; export the member first")
        engine = llama_cpp()
        self.path = path
        try:
            self._server = engine.Server(_parameters(engine, path, cache, threads, context))
        except RuntimeError as error:
            raise ExportError(f"{path}: llama.cpp cannot load it ({error}); export it again") from error
        # a proxy that the environment names does not know the way to this process
        self._opener = build_opener(ProxyHandler({}))
        self._first = self.tokenize("", add_special=True)[0]

    def __enter__(self) -> "LlamaCpp":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the model and its threads."""
        self._server = None

    def tokenize(self, text: str, *, parse_special: bool = False, add_special: bool = False) -> list[int]:
        """Ids of a text; with `add_special` what llama.cpp puts before every prompt, with `parse_special` as markup."""
        asked = {"content": text, "add_special": add_special, "parse_special": parse_special}
        return self._ask("/tokenize", asked)["tokens"]

    def tokenize_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, each as `tokenize` gives them, in one question."""
        content: list[str | int] = []
        for text in texts:
            content += [text, _BETWEEN]
        found: list[list[int]] = [[]]
        asked = {"content": content, "add_special": False, "parse_special": False}
        for token in self._ask("/tokenize", asked)["tokens"]:
            if token == _BETWEEN:
                found.append([])
            else:
                found[-1].append(token)
        return found[:-1]

    def prompt(self, conversation: Sequence[Message]) -> str:
        """The text that the file's chat template makes of a conversation, up to where the assistant speaks."""
        messages = [{"role": message.role, "content": message.content} for message in conversation]
        return self._ask("/apply-template", {"messages": messages})["prompt"]

    def greedy(self, tokens: Sequence[int], count: int, ends: Collection[int] = ()) -> list[int]:
        """The likeliest `count` tokens after these, or up to the first of `ends`, which is left out."""
        said: list[int] = []
        while len(said) < count:
            # llama.cpp stops at ends of its own choosing; where we did not ask for that, it is asked to go on
            more = self._complete([*tokens, *said], count - len(said), {})["tokens"]
            if not more:
                raise ExportError(f"{self.path}: llama.cpp fell silent after {len(said)} tokens; give it more context")
            stop = next((at for at, token in enumerate(more) if token in ends), None)
            if stop is not None:
                return said + more[:stop]
            said += more
        return said

    def log_probabilities(self, tokens: Sequence[int], top: int = 10) -> list[tuple[int, float]]:
        """The `top` likeliest next tokens and their natural log probabilities, likeliest first."""
        # it keeps silent on a token that begins a letter without ending it, so another is forced on it:
        # the probabilities that it tells are those before
        forced = {"n_probs": top, "logit_bias": [[self._first, _FORCE]]}
        (position,) = self._complete(tokens, 1, forced)["completion_probabilities"]
        return [(entry["id"], entry["logprob"]) for entry in position["top_logprobs"]]

    def _complete(self, tokens: Sequence[int], count: int, more: Mapping[str, Any]) -> Any:
        asked = {"prompt": list(tokens), "n_predict": count, "temperature": 0, "return_tokens": True}
        return self._ask("/completion", {**asked, **more})

    def _ask(self, what: str, value: Any) -> Any:
        with self.asked(what, value) as reply:
            return json.load(reply)

    def asked(self, what: str, value: Any) -> HTTPResponse:
        """What llama.cpp's own server answers to `value` at the address `what`; raises ExportError if it refuses."""
        assert self._server is not None
        body = json.dumps(value).encode()
        request = Request(self._server.listening_address + what, body, {"Content-Type": "application/json"})
        try:
            return self._opener.open(request)
        except HTTPError as error:
            said = error.read().decode(errors="replace")
            raise ExportError(f"{self.path}: llama.cpp refuses {what} ({' '.join(said.split())})") from error


def hosted(path: Path, *, slots: int, context: int, threads: int, together: int, key: str) -> Any:
    """A server of this file on a loopback address, for whoever has the key; it serves while what is returned is held.

    `slots` are answered at a time, each with `context` tokens. `threads` compute one token, `together` several at once.
    Raises ExportError as above.
    """
    engine = llama_cpp()
    parameters = _parameters(engine, path, "f16", threads, slots * context)
    parameters.n_parallel, parameters.kv_unified = slots, False
    parameters.cpuparams_batch.n_threads = together
    parameters.n_threads_http, parameters.api_keys = slots + 4, [key]
    try:
        return engine.Server(parameters)
    except RuntimeError as error:
        raise ExportError(f"{path}: llama.cpp cannot load it ({error}); export it again") from error


def llama_cpp() -> Any:
    """The package xllamacpp; raises ExportError if it is not installed."""
    try:
        return importlib.import_module("xllamacpp")
    except ImportError as error:
        raise ExportError(f"llama.cpp: cannot be loaded ({error}); pip install 'minikin[check]'") from error


def _parameters(engine: Any, path: Path, cache: CacheType, threads: int, context: int) -> Any:
    parameters = engine.CommonParams()
    parameters.model.path = os.fspath(path)
    parameters.n_ctx, parameters.n_parallel = context, 1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    parameters.n_threads_http = 1
    if cache == "f32":
        parameters.cache_type_k = parameters.cache_type_v = engine.ggml_type.GGML_TYPE_F32
        parameters.flash_attn_type = engine.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    # read it whole: a mapped file that is exported again would change under a loaded model
    parameters.load_mode = engine.llama_load_mode.LLAMA_LOAD_MODE_NONE
    parameters.lazy_mode = engine.llama_lazy_mode.LLAMA_LAZY_MODE_OFF
    parameters.n_gpu_layers = 0
    parameters.fit_params = parameters.warmup = parameters.ui = False
    parameters.cache_ram_mib = 0
    parameters.verbosity = 0
    return parameters
