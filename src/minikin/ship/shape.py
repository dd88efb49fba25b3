"""What llama.cpp can run of the shapes that a member may have, and how it is told of one that it cannot."""

from dataclasses import replace

from minikin.base.errors import ExportError
from minikin.model.config import FULL, SLIDING, Config


def refuse_unrunnable(config: Config, where: str) -> None:
    """Raise ExportError if llama.cpp would not load this shape or, worse, compute something else without a word."""
    for complaint in (*_layer_complaints(config), *_shared_complaints(config)):
        raise ExportError(f"{where}: {complaint}")


def has_stand_in(config: Config) -> bool:
    """Whether the first layer is told as a sliding one, because without any llama.cpp aborts the whole process."""
    return SLIDING not in config.layer_types


def turning(config: Config) -> int:
    """Channels that positions turn in a head of full attention."""
    return 2 * int(config.head_dim_of(FULL) * config.partial_rotary_factor / 2)


def with_sliding_layer(config: Config) -> Config:
    """The same model with at least one sliding layer.

    A stand-in's window is the whole context. Full layers turn channel i with i + half of the head; sliding ones turn
    i with i + half of the channels that turn. So a stand-in's rows are reordered (`names`), and its base is such that
    the same wavelengths come out.
    """
    if not has_stand_in(config):
        return config
    head_dim = config.head_dim_of(FULL)
    return replace(
        config,
        layer_types=(SLIDING, *config.layer_types[1:]),
        head_dim=head_dim,
        global_head_dim=None,
        sliding_window=config.max_position_embeddings,
        sliding_rope_theta=config.full_rope_theta ** (turning(config) / head_dim),
    )


def _layer_complaints(config: Config) -> list[str]:
    found = []
    if config.num_hidden_layers == 1:
        found.append("num_hidden_layers = 1; llama.cpp needs a sliding and a full layer at least")
    if not turning(config):
        found.append("partial_rotary_factor turns no channel of full attention; llama.cpp needs two at least")
    if config.hidden_size_per_layer_input and config.table_rows != config.vocab_size:
        # Transformers fails on a token beyond the table, so there is no row that could rightly be added
        found.append(
            f"vocab_size_per_layer_input = {config.table_rows} differs from vocab_size = {config.vocab_size}; "
            "llama.cpp needs a row a token"
        )
    return found


def _shared_complaints(config: Config) -> list[str]:
    """llama.cpp lets full layers read the last layer that keeps its own keys, and sliding ones the last but one."""
    own = config.num_hidden_layers - config.num_kv_shared_layers
    keeping, sharing = config.layer_types[max(own - 2, 0) : own], config.layer_types[own:]
    if not sharing or keeping == (SLIDING, FULL) or (keeping == (FULL, FULL) and SLIDING not in sharing):
        return []
    return [
        f"num_kv_shared_layers = {len(sharing)} makes layers {own - 2} and {own - 1} the ones whose keys are shared; "
        "llama.cpp needs a sliding and then a full layer there"
    ]
