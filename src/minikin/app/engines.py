"""Which engine answers for a member: llama.cpp where it can, PyTorch everywhere."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch

from minikin.base.errors import EngineError, ExportError, StorageError
from minikin.engine.asking import Engine
from minikin.engine.llamacpp_engine import LlamaCppEngine
from minikin.engine.torch_engine import TorchEngine
from minikin.family.quantizing import weights_of_kind
from minikin.model.shards import weight_files
from minikin.ship.gguf import export, file_of
from minikin.ship.llamacpp import llama_cpp
from minikin.ship.types import known

EngineName = Literal["auto", "torch", "llama.cpp"]


def opened(member: Path, wanted: EngineName, kind: str, *, slots: int, queue: int) -> Engine:
    """An engine for a member; raises MinikinError if what is wanted cannot be.

    "auto" says on stderr why it is not llama.cpp, unless that is not installed.
    """
    known(kind)
    if wanted == "llama.cpp" or (wanted == "auto" and find_spec("xllamacpp")):
        try:
            llama_cpp()
            file = gguf_file(member, kind)
            return LlamaCppEngine(member, file, slots=slots, queue=queue, threads=torch.get_num_threads())
        except (ExportError, EngineError, StorageError) as error:
            if wanted == "llama.cpp":
                raise
            sys.stderr.write(f"{member.name}: answered by PyTorch, because {error}\n")
    return TorchEngine(member, slots=slots, queue=queue)


def gguf_file(member: Path, kind: str) -> Path:
    """A member's file of a kind beside its weights, written if there is none or the weights are newer."""
    weights = weights_of_kind(member, kind)
    path = file_of(member, kind)
    newest = max(file.stat().st_mtime for file in weight_files(weights or member))
    if not path.is_file() or path.stat().st_mtime < newest:
        export(member, path, kind, weights)
    return path
