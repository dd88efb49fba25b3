"""Where a recipe computes: the device that it asks for, or one clear line."""

import pytest
import torch

from minikin.base.device import CPU, compiles, describe, device_of, prepare, products_dtype
from minikin.base.errors import DeviceError


@pytest.mark.parametrize(
    ("there", "asked", "found"),
    [
        (False, "auto", "cpu"),
        (True, "auto", "cuda"),
        (True, "cpu", "cpu"),
        (True, "cuda", "cuda"),
    ],
)
def test_a_device_is_what_is_asked_for_or_there(monkeypatch, there, asked, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert device_of(asked).type == found


def test_cuda_where_there_is_none_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r'^device is cuda, but .* finds none here; say device = "cpu"') as raised:
        device_of("cuda")
    assert "\n" not in str(raised.value)


def test_passes_are_compiled_on_a_gpu_unless_told_otherwise():
    gpu = torch.device("cuda")
    assert [compiles("auto", device) for device in (CPU, gpu)] == [False, True]
    assert [compiles("on", device) for device in (CPU, gpu)] == [True, True]
    assert [compiles("off", device) for device in (CPU, gpu)] == [False, False]


def test_sums_have_a_fixed_order_on_a_cpu_alone():
    prepare(1, torch.device("cuda"))
    assert not torch.are_deterministic_algorithms_enabled()
    prepare(1)
    assert torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_products_are_narrow_where_the_gpu_multiplies_them(monkeypatch, native, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert products_dtype("auto", torch.device("cuda")) == dtype


def test_a_machine_tells_its_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "abacus")
    assert (describe().accelerator, describe(torch.device("cuda")).accelerator) == ("", "abacus")
