"""A member on disk: a Hugging Face directory, which Transformers loads without code of ours.

Weights are read by mapping their files, as wide as they are stored: a large table costs no memory but for the rows
that tokens ask for, and whatever is multiplied is widened to float32 where it is used.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from minikin.base.errors import CheckpointError
from minikin.base.seeds import torch_generator
from minikin.model.config import Config
from minikin.model.decoder import INITIAL_STD, Decoder, skeleton
from minikin.model.huggingface import config_from, stored_config, stored_name, superfluous, text_weights
from minikin.model.shards import SHARD_BYTES, RowFile, Written, mapped_weights, write_weights

CONFIG, GENERATION = "config.json", "generation_config.json"
_PIECE = 1 << 22  # weights that are drawn at a time: 16 MB
_SMALL_TABLE = 1 << 24  # bytes: up to this it stays mapped; it may become resident, but its rows are found faster


def save(decoder: Decoder, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Write configuration and weights into an existing folder; the caller makes the folder whole or not at all.

    Every weight is stored as it is held: in float32 after a training, as its file had it if it was loaded. The folder
    must not be the one that it was loaded from: its weights may still be there and nowhere else.
    """
    tensors = (
        Written(name=stored_name(name), shape=tuple(held.shape), dtype=held.dtype, pieces=lambda t=held: _pieces(t))
        for name, held in decoder.state_dict().items()
    )
    write_weights(folder, tensors, shard_bytes)
    _write_config(decoder.config, folder, decoder.embed_tokens.weight.dtype)


def save_initial(config: Config, folder: Path, dtype: torch.dtype, seed: int, watch: Callable[[int], None]) -> None:
    """Write a decoder with random weights into an existing folder, holding a few megabytes of them at a time.

    `watch` hears of every piece how many weights it has.
    """
    tensors = (
        Written(
            name=stored_name(name),
            shape=tuple(shape),
            dtype=dtype,
            pieces=lambda name=name, shape=shape: _watched(
                _drawn(shape, torch_generator(seed, "initial", name)), watch
            ),
        )
        for name, shape in ((name, tensor.shape) for name, tensor in skeleton(config).state_dict().items())
    )
    write_weights(folder, tensors)
    _write_config(config, folder, dtype)


def load(folder: Path, config: Config | None = None) -> Decoder:
    """A member whose weights stay in its files; `config` is what its folder says, if nobody knows better.

    Raises CheckpointError if a file is missing, damaged or disagrees.
    """
    config = config or read_config(folder)
    decoder, stored = skeleton(config), text_weights(mapped_weights(folder))
    expected = {stored_name(name): (name, tensor.shape) for name, tensor in decoder.state_dict().items()}
    found = {name for name in stored if name in expected or not superfluous(name, config)}
    if expected.keys() != found:
        name = min(expected.keys() ^ found)
        state = "lack" if name in expected else "hold an unknown"
        raise CheckpointError(f"{folder}: the weights {state} {name}; weights and {CONFIG} do not belong together")
    for name, (_, shape) in expected.items():
        if stored[name].shape != shape:
            raise CheckpointError(
                f"{folder}: {name} has shape {tuple(stored[name].shape)}, but {CONFIG} asks for {tuple(shape)}; "
                "weights and configuration do not belong together"
            )
    decoder.load_state_dict({ours: stored[name] for name, (ours, _) in expected.items()}, assign=True)
    if (tables := decoder.tables) is not None and tables.embed_tokens_per_layer.weight.nbytes > _SMALL_TABLE:
        tables.file = RowFile(folder, "embed_tokens_per_layer.weight")
    return decoder


def in_memory(decoder: Decoder) -> Decoder:
    """The same decoder, ready to be trained: everything in float32 and in memory, but tables stay where they are.

    A table that is stored narrower is trained as it is; what is written to it changes no file.
    """
    if decoder.tables is not None:
        decoder.tables.file = None
    for name, parameter in decoder.named_parameters():
        if "embed_tokens_per_layer" not in name:
            parameter.data = parameter.data.to(torch.float32, copy=True)
    for name, buffer in decoder.named_buffers():
        owner, _, last = name.rpartition(".")
        decoder.get_submodule(owner).register_buffer(last, buffer.to(torch.float32, copy=True))
    return decoder


def placed(decoder: Decoder, device: torch.device) -> Decoder:
    """The same decoder, moved to a device with everything it computes with; on the CPU its weights stay mapped."""
    if device == decoder.device:
        return decoder
    if decoder.tables is not None:
        decoder.tables.file = None
    decoder.frequencies = {kind: turned.to(device) for kind, turned in decoder.frequencies.items()}
    return decoder.to(device)


def read_config(folder: Path) -> Config:
    """The shape a member's folder declares."""
    path = folder / CONFIG
    try:
        return config_from(json.loads(path.read_text(encoding="utf-8")), str(path))
    except (IsADirectoryError, PermissionError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        members = sorted(inner.parent.name for inner in folder.glob(f"*/{CONFIG}"))
        hint = f"name one of its members: {', '.join(members)}" if members else "this is not a member's folder"
        raise CheckpointError(f"{folder}: has no {CONFIG}; {hint}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: is not valid JSON ({error}); build the member again") from error


def _write_config(config: Config, folder: Path, dtype: torch.dtype) -> None:
    stored = stored_config(config) | {"dtype": str(dtype).removeprefix("torch.")}
    generation = {
        "bos_token_id": config.bos_token_id,
        "eos_token_id": list(config.eos_token_ids),
        "pad_token_id": config.pad_token_id,
    }
    for name, fields in ((CONFIG, stored), (GENERATION, generation)):
        (folder / name).write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


def _pieces(tensor: Tensor) -> Iterator[Tensor]:
    yield from tensor.detach().flatten().split(_PIECE)


def _watched(pieces: Iterable[Tensor], watch: Callable[[int], None]) -> Iterator[Tensor]:
    for piece in pieces:
        watch(len(piece))
        yield piece


def _drawn(shape: torch.Size, generator: torch.Generator) -> Iterator[Tensor]:
    """Matrices are normal, scales are one, as in `initialized`."""
    for piece in torch.empty(shape, device="meta").flatten().split(_PIECE):
        if len(shape) > 1:
            yield torch.empty(len(piece)).normal_(0.0, INITIAL_STD, generator=generator)
        else:
            yield torch.ones(len(piece))
