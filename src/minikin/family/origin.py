"""A family that begins with a checkpoint: where it lies, its shape and its tokenizer."""

import re
from dataclasses import replace
from pathlib import Path

from huggingface_hub import snapshot_download

from minikin.base.errors import CheckpointError
from minikin.base.files import digest, file_digest, read_json
from minikin.model.checkpoint import GENERATION, read_config
from minikin.model.config import Config
from minikin.model.shards import weight_files
from minikin.text.hub import asked
from minikin.text.tokenizer import TOKENIZER, Tokenizer

_DESCRIPTION = ("*.json", "*.jinja")
_WEIGHTS = ("*.safetensors",)


def origin_folder(origin: str) -> Path:
    """The checkpoint's folder, fetched from the hub if it is not one here."""
    return _fetched(origin, (*_DESCRIPTION, *_WEIGHTS))


def origin_config(origin: str) -> Config:
    """Its shape, with the ends of an answer that it or its chat format knows."""
    folder = _fetched(origin, _DESCRIPTION)
    config, tokenizer = read_config(folder), Tokenizer.load(folder)
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"{folder}: its tokenizer has {tokenizer.vocab_size:,} entries, its vocab_size is {config.vocab_size:,}; "
            "they do not belong together"
        )
    ends = {*config.eos_token_ids, *_generation_ends(folder), tokenizer.eos_id, tokenizer.turn_end_id}
    known = {"bos_token_id": tokenizer.bos_id, "pad_token_id": tokenizer.pad_id, "eos_token_ids": tuple(sorted(ends))}
    return replace(config, **known)


def origin_key(origin: str) -> str:
    """What a checkpoint's content is known by: the bytes of its configuration, tokenizer and weights."""
    folder = origin_folder(origin)
    files = [folder / "config.json", folder / TOKENIZER, *weight_files(folder)]
    return digest(*(part for file in files for part in (file.name, file_digest(file))))


def _generation_ends(folder: Path) -> list[int]:
    path = folder / GENERATION
    found = read_json(path).get("eos_token_id", []) if path.is_file() else []
    return found if isinstance(found, list) else [found]


def _fetched(origin: str, patterns: tuple[str, ...]) -> Path:
    if Path(origin).is_dir():
        return Path(origin)
    if Path(origin).exists():
        raise CheckpointError(f"{origin}: is a file; name the folder of a checkpoint, with config.json and safetensors")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", origin):
        raise CheckpointError(f"{origin}: no such folder, and no name of the hub's kind OWNER/NAME")
    told = f"{origin}: no such folder here, and not fetched from the hub either"
    advice = "check the path, or the hub's name and the network"
    return Path(asked(told, advice, lambda: snapshot_download(origin, allow_patterns=list(patterns))))
