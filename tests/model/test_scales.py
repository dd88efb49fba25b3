"""Scales beside a member's weights: of their kind only, whole or refused."""

import pytest
import torch

from minikin.base.errors import CheckpointError
from minikin.model.scales import SCALES, read_scales, write_scales

FOUND = {"layers.0.mlp.up_proj.weight": torch.tensor([[0.5, -0.25]]), "embed_tokens.weight": torch.ones(3, 1)}


def test_scales_come_back_by_their_stored_names(tmp_path):
    write_scales(tmp_path, FOUND, "q4_0")
    read = read_scales(tmp_path, "q4_0")
    assert read.keys() == {f"model.{name}" for name in FOUND}
    for name, scale in FOUND.items():
        assert torch.equal(read[f"model.{name}"], scale)
    assert (tmp_path / SCALES).stat().st_mode & 0o777 == 0o644


def test_another_kind_and_no_file_have_none(tmp_path):
    assert read_scales(tmp_path, "q4_0") == {}
    write_scales(tmp_path, FOUND, "q4_0")
    assert read_scales(tmp_path, "q8_0") == {}


def test_a_damaged_file_is_refused(tmp_path):
    write_scales(tmp_path, FOUND, "q4_0")
    (tmp_path / SCALES).write_bytes((tmp_path / SCALES).read_bytes()[:40])
    with pytest.raises(CheckpointError, match="is damaged"):
        read_scales(tmp_path, "q4_0")
