"""What a GGUF file says before its weights: who the model is, its shape, its tokenizer."""

from gguf import GGML_QUANT_VERSION, GGUFWriter

from minikin import __version__
from minikin.model.config import FULL, SLIDING, Config
from minikin.ship.identity import VERSION, Identity
from minikin.ship.shape import has_stand_in, turning, with_sliding_layer
from minikin.ship.types import known
from minikin.ship.vocabulary import Vocabulary


def describe(writer: GGUFWriter, identity: Identity, config: Config, vocabulary: Vocabulary, kind: str) -> None:
    """Add all metadata to a writer."""
    _describe_identity(writer, identity)
    _describe_origins(writer, identity)
    writer.add_file_type(known(kind).file_type)
    writer.add_quantization_version(GGML_QUANT_VERSION)
    _describe_shape(writer, config)
    _describe_attention(writer, with_sliding_layer(config))
    # all pairs of a head turn; those that full attention leaves still have an endless wavelength in rope_freqs
    writer.add_rope_dimension_count(config.head_dim_of(FULL))
    writer.add_rope_dimension_count_swa(turning(config) if has_stand_in(config) else config.head_dim)
    _describe_vocabulary(writer, vocabulary)


def _describe_identity(writer: GGUFWriter, identity: Identity) -> None:
    writer.add_type("model")
    writer.add_name(identity.name)
    writer.add_basename(identity.basename)
    writer.add_size_label(identity.size_label)
    writer.add_version(VERSION)
    writer.add_finetune(identity.finetune or "")  # the writer leaves empty texts and lists out
    writer.add_quantized_by(f"minikin {__version__}")
    writer.add_languages(list(identity.languages))
    writer.add_tags(list(identity.tags))
    for key, text in identity.texts.items():
        writer.add_string(key, text)
    for name, value in identity.sampling.items():
        if name == "top_k":
            writer.add_sampling_top_k(int(value))
        else:
            writer.add_float32(f"general.sampling.{name}", float(value))


def _describe_origins(writer: GGUFWriter, identity: Identity) -> None:
    for room, origins in (("base_model", identity.base_models), ("dataset", identity.datasets)):
        if origins:
            writer.add_uint32(f"general.{room}.count", len(origins))
        for index, origin in enumerate(origins):
            writer.add_string(f"general.{room}.{index}.name", origin.name)
            writer.add_string(f"general.{room}.{index}.organization", origin.organization or "")
            writer.add_string(f"general.{room}.{index}.repo_url", origin.url or "")


def _describe_shape(writer: GGUFWriter, config: Config) -> None:
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_embedding_length_per_layer_input(config.hidden_size_per_layer_input)
    writer.add_block_count(config.num_hidden_layers)
    widths = [config.intermediate_size_of(layer) for layer in range(config.num_hidden_layers)]
    writer.add_feed_forward_length(widths[0] if len(set(widths)) == 1 else widths)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    # said even where there is none: without a word llama.cpp caps at 30
    writer.add_final_logit_softcapping(config.final_logit_softcapping or 0.0)


def _describe_attention(writer: GGUFWriter, config: Config) -> None:
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_shared_kv_layers(config.num_kv_shared_layers)
    writer.add_key_length(config.head_dim_of(FULL))
    writer.add_value_length(config.head_dim_of(FULL))
    writer.add_key_length_swa(config.head_dim)
    writer.add_value_length_swa(config.head_dim)
    writer.add_sliding_window(config.sliding_window)
    writer.add_sliding_window_pattern([kind == SLIDING for kind in config.layer_types])
    writer.add_rope_freq_base(config.full_rope_theta)
    writer.add_rope_freq_base_swa(config.sliding_rope_theta)


def _describe_vocabulary(writer: GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("gemma4")
    writer.add_token_list(list(vocabulary.tokens))
    # BPE goes by the order of merges; this is the score that Gemma's own files give
    writer.add_token_scores([-1000.0] * len(vocabulary.tokens))
    writer.add_token_types([int(type_) for type_ in vocabulary.types])
    writer.add_token_merges(list(vocabulary.merges))
    for role, index in vocabulary.roles.items():
        writer.add_uint32(f"tokenizer.ggml.{role}_token_id", index)
    writer.add_add_space_prefix(value=False)
    writer.add_add_bos_token(value=True)
    writer.add_chat_template(vocabulary.chat_template or "")
