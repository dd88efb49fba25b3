"""The stage that makes members of few bits: weights on the grids of GGUF files, and taught there if asked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minikin.base.files import read_json, write_text
from minikin.family.card import CARD, card
from minikin.family.fitting import judged_by, mixture
from minikin.family.learning import Optimization
from minikin.family.lineage import untrained_provenance
from minikin.family.phases import recovery
from minikin.family.recipe import Kind
from minikin.family.site import Site, member_key, quantized_key, quantized_name
from minikin.family.store import PROVENANCE
from minikin.family.training import Training, steps_of, trained
from minikin.model.checkpoint import in_memory, load, placed, save
from minikin.model.config import Config
from minikin.model.decoder import Decoder, skeleton
from minikin.model.huggingface import stored_name
from minikin.model.scales import write_scales
from minikin.ship.types import Type, stored_bytes, stored_type
from minikin.shrink.moments import second_moments
from minikin.shrink.quantize import FLOAT16, hold_on_grids, let_go, put_on_grids
from minikin.text.chat import chat_template
from minikin.text.mixture import Mixture
from minikin.text.tokenizer import Tokenizer

_BITS = {Type.Q4_0: 4, Type.Q8_0: 8, Type.F16: FLOAT16}


def quantize_member(site: Site, name: str, kind: Kind) -> None:
    """A member in a kind, as a member of its own: the weights that its file of this kind has, and their scales."""
    own = site.store.folder(name)
    bits, size = _bits(site.planned[name].config, kind), _bytes(site.planned[name].config, kind)
    with site.log.bar(f"{name}: inputs of products, for {kind}", 1) as bar:
        moments = _moments(site, name, kind)
        bar.at(1)
    decoder = in_memory(load(own)).eval()
    scales = put_on_grids(decoder, bits, moments)
    facts = _taught(site, name, kind, decoder, scales) or untrained_provenance(site, name)
    facts |= {"stage": "quantized", "kind": kind, "parent": name, "of": member_key(site, name), "bytes": size}
    with site.store.fresh(quantized_name(name, kind), quantized_key(site, name, kind), facts) as folder:
        save(decoder, folder)
        write_scales(folder, scales, kind)
        Tokenizer.load(own).save(folder, decoder.config.max_position_embeddings, chat_template())
        write_text(folder / CARD, card(site, name, facts, None))


def weights_of_kind(member: Path, kind: str) -> Path | None:
    """Where a built family keeps a member's weights in a kind; None if it does not, or has another build of them."""
    own = member.resolve()
    folder = own.parent / quantized_name(own.name, kind)
    if not (folder / PROVENANCE).is_file() or not (own / PROVENANCE).is_file():
        return None
    of, key = read_json(folder / PROVENANCE).get("of"), read_json(own / PROVENANCE).get("key")
    return folder if of and of == key else None


def _bits(config: Config, kind: str) -> dict[str, int]:
    """Of every weight that is not kept as it is, by the decoder's names."""
    return {name: _BITS[type_] for name, (_, type_) in _types(config, kind).items() if type_ in _BITS}


def _bytes(config: Config, kind: str) -> int:
    """Of all weights in a file of a kind."""
    return sum(stored_bytes(shape, type_) for shape, type_ in _types(config, kind).values())


def _types(config: Config, kind: str) -> dict[str, tuple[torch.Size, Type]]:
    held = skeleton(config).state_dict().items()
    return {name: (tensor.shape, stored_type(stored_name(name), tensor.shape, kind)) for name, tensor in held}


def _moments(site: Site, name: str, kind: Kind) -> dict[str, Tensor]:
    rows = mixture(site, name, Optimization(tokens=1))
    batches = -(-site.recipe.quantize[kind].samples // rows.batch_rows)
    decoder = placed(load(site.store.folder(name)).eval(), site.device)
    found = second_moments(decoder, (rows.batch(step) for step in range(batches)))
    return {module: moments.cpu() for module, moments in found.items()}


def _taught(site: Site, name: str, kind: Kind, decoder: Decoder, scales: dict[str, Tensor]) -> dict[str, Any] | None:
    """Let the member teach what is left of it on the grids, if the recipe says so; what provenance tells of it.

    `scales` are those that it learned with, afterwards: a training that went on elsewhere goes on with those it began.
    """
    asked = site.recipe.quantize[kind].distill
    if asked is None:
        return None
    rows, bits = mixture(site, name, asked), _bits(decoder.config, kind)
    student = placed(decoder, site.device)
    hold_on_grids(student, bits, scales)
    facts = trained(site, _lessons(site, name, kind, student, rows))
    scales |= let_go(student)
    placed(student, torch.device("cpu"))
    _rounded_again(decoder, bits)
    return facts | {"teacher": name}


def _lessons(site: Site, name: str, kind: Kind, student: Decoder, rows: Mixture) -> Training:
    asked = site.recipe.quantize[kind].distill
    assert asked is not None
    return Training(
        name=name,
        title=f"{name} in {kind}",
        artifact=quantized_name(name, kind),
        key=quantized_key(site, name, kind),
        phase=site.planned[name].phases[recovery(kind)],
        decoder=student,
        objective=judged_by(site, name, rows),
        optimization=asked,
        rows=rows,
        steps=steps_of(asked, rows),
        batch_at=rows.batch,
    )


@torch.no_grad()
def _rounded_again(decoder: Decoder, bits: Mapping[str, int]) -> None:
    """What is kept at 16 bits was trained as well."""
    for name, weight in decoder.state_dict().items():
        if bits.get(name) == FLOAT16:
            weight.copy_(weight.half())
