"""A member on disk: a Hugging Face directory, which Transformers loads without code of ours.

One table of names and one of configuration fields, both ways. Weights are safetensors, never pickle.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from minikin.base.errors import CheckpointError
from minikin.base.files import MANIFEST, verify_file
from minikin.model.config import FULL, SLIDING, Config
from minikin.model.decoder import Decoder, empty

WEIGHTS, CONFIG = "model.safetensors", "config.json"

# configuration fields that are the same word and the same value here and there
_SAME = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_size_per_layer_input",
    "sliding_window",
    "max_position_embeddings",
    "rms_norm_eps",
    "final_logit_softcapping",
    "bos_token_id",
    "pad_token_id",
)

# what Gemma 4 can be and our decoder is not: each must have this value or be absent
_REFUSED: Mapping[str, Any] = {
    "attention_bias": False,
    "attention_k_eq_v": False,
    "enable_moe_block": False,
    "hidden_activation": "gelu_pytorch_tanh",
    "num_kv_shared_layers": 0,
    "tie_word_embeddings": True,
    "use_bidirectional_attention": None,
    "use_double_wide_mlp": False,
}


def save(decoder: Decoder, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write configuration and weights into an existing folder; the caller makes the folder whole or not at all."""
    tensors = {
        stored_name(name): tensor.detach().to(dtype).contiguous() for name, tensor in decoder.state_dict().items()
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    # safetensors writes mode 0600 whatever the umask says, which no other user could then read
    umask = os.umask(0)
    os.umask(umask)
    (folder / WEIGHTS).chmod(0o666 & ~umask)
    stored = stored_config(decoder.config) | {"dtype": str(dtype).removeprefix("torch.")}
    (folder / CONFIG).write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
    generation = {
        "bos_token_id": decoder.config.bos_token_id,
        "eos_token_id": list(decoder.config.eos_token_ids),
        "pad_token_id": decoder.config.pad_token_id,
    }
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> Decoder:
    """Read a member as float32; raises CheckpointError if anything is missing, damaged or disagrees."""
    decoder = empty(read_config(folder))
    path = folder / WEIGHTS
    if not path.is_file():
        raise CheckpointError(f"{folder}: has no {WEIGHTS}; build the member again or point to another folder")
    if (folder / MANIFEST).is_file():  # a folder that another program wrote has none
        verify_file(folder, WEIGHTS)
    expected = {stored_name(name): tensor for name, tensor in decoder.state_dict().items()}
    try:
        with safe_open(path, framework="pt") as stored:
            _refuse_other_names(path, set(expected), set(stored.keys()))
            for name, tensor in expected.items():
                _fill(tensor, stored.get_tensor(name), path, name)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: is damaged ({error}); build the member again") from error
    return decoder


def read_config(folder: Path) -> Config:
    """The shape a member's folder declares."""
    path = folder / CONFIG
    try:
        return config_from(json.loads(path.read_text(encoding="utf-8")), str(path))
    except FileNotFoundError as error:
        members = sorted(inner.parent.name for inner in folder.glob(f"*/{CONFIG}"))
        hint = f"name one of its members: {', '.join(members)}" if members else "this is not a member's folder"
        raise CheckpointError(f"{folder}: has no {CONFIG}; {hint}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: is not valid JSON ({error}); build the member again") from error


def stored_name(name: str) -> str:
    """The name of a weight in Transformers: our rooms `tables` and `table` are not spelled there."""
    return "model." + name.removeprefix("tables.").replace(".table.", ".")


def stored_config(config: Config) -> dict[str, Any]:
    """The configuration as Transformers reads it.

    `global_head_dim` is what readers before Transformers 5.15 know, `per_layer_config` what later ones do.
    """
    full_layers = [str(index) for index, kind in enumerate(config.layer_types) if kind == FULL]
    return {
        "architectures": ["Gemma4ForCausalLM"],
        "model_type": "gemma4_text",
        **{name: getattr(config, name) for name in _SAME},
        **_REFUSED,
        "attention_dropout": 0.0,
        "eos_token_id": list(config.eos_token_ids),
        "layer_types": list(config.layer_types),
        "vocab_size_per_layer_input": config.vocab_size,
        "global_head_dim": config.head_dim,
        "per_layer_config": {index: {"head_dim": config.head_dim} for index in full_layers},
        "rope_parameters": {
            SLIDING: {"rope_type": "default", "rope_theta": config.sliding_rope_theta},
            FULL: {
                "rope_type": "proportional",
                "partial_rotary_factor": config.partial_rotary_factor,
                "rope_theta": config.full_rope_theta,
            },
        },
    }


def config_from(stored: Mapping[str, Any], where: str) -> Config:
    """Our configuration from Transformers'; raises CheckpointError naming a feature that we do not have."""
    if stored.get("model_type") != "gemma4_text":
        raise CheckpointError(f"{where}: model_type is {stored.get('model_type')!r}; only 'gemma4_text' can be read")
    for name, allowed in _REFUSED.items():
        if stored.get(name, allowed) != allowed:
            raise CheckpointError(f"{where}: {name} = {stored[name]!r} is not supported; only {allowed!r} is")
    try:
        rope = stored["rope_parameters"]
        eos = stored["eos_token_id"]
        return Config(
            **{name: stored[name] for name in _SAME},
            layer_types=tuple(stored["layer_types"]),
            sliding_rope_theta=rope[SLIDING]["rope_theta"],
            full_rope_theta=rope[FULL]["rope_theta"],
            partial_rotary_factor=rope[FULL]["partial_rotary_factor"],
            eos_token_ids=tuple(eos) if isinstance(eos, list) else (eos,),
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{where}: lacks {error}; it was written by another program or cut short") from error


def _refuse_other_names(path: Path, expected: set[str], found: set[str]) -> None:
    if expected != found:
        name = min(expected ^ found)
        state = "lacks" if name in expected else "holds an unknown"
        raise CheckpointError(f"{path}: {state} {name}; weights and {CONFIG} do not belong together")


def _fill(target: Tensor, stored: Tensor, path: Path, name: str) -> None:
    if target.shape != stored.shape:
        raise CheckpointError(
            f"{path}: {name} has shape {tuple(stored.shape)}, but {CONFIG} asks for {tuple(target.shape)}; "
            "weights and configuration do not belong together"
        )
    target.copy_(stored)
