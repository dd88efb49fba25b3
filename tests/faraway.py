"""A pretended device with real numbers: what is there is computed here, and whatever mixes the two is refused.

It stands in for a GPU where there is none. Tensors on it hold a tensor of the CPU; an operation whose tensors are not
all on one side raises, as CUDA does, but for what CUDA allows as well: copies, numbers without a dimension, and places
on the CPU to index with. Built on PyTorch's private-use device, so `device`, `.to` and `.cpu` are its own.
"""

from contextlib import contextmanager
from typing import ClassVar

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

_aten = torch.ops.aten
_COPIES = {_aten._to_copy.default, _aten.copy_.default, _aten.set_.source_Storage_storage_offset}
_INDEXING = {_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default}


class MixedDevices(RuntimeError):
    """An operation got tensors of both devices."""


class _Backend(_DummyBackendModule):
    def get_amp_supported_dtype(self):
        return [torch.bfloat16]


_setup_privateuseone_for_python_backend("far", _Backend())
FAR = torch.device("far", 0)


class Far(torch.Tensor):
    """A tensor that is far away; `here` holds its numbers."""

    seen: ClassVar[set[str]] = set()

    @staticmethod
    def __new__(cls, here):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride() if here.layout is torch.strided else None,
            storage_offset=here.storage_offset() if here.layout is torch.strided else None,
            dtype=here.dtype,
            layout=here.layout,
            device=FAR,
        )

    def __init__(self, here):
        self.here = here

    def tolist(self):
        return self.here.tolist()

    def numpy(self):
        raise TypeError("numpy reads the CPU's memory only")

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _computed(func, args, kwargs or {})


class _Factories(TorchDispatchMode):
    """Sees what makes tensors from nothing."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _computed(func, args, kwargs or {})


@contextmanager
def faraway():
    """The device is there, and every operation is looked at."""
    with _Factories():
        yield FAR


def _computed(func, args, kwargs):
    leaves = pytree.tree_leaves((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    far = [tensor for tensor in tensors if isinstance(tensor, Far)]
    if far and any(isinstance(leaf, torch.Generator) for leaf in leaves):
        raise MixedDevices(f"{func}: a generator of the CPU draws on the CPU only")
    _refuse_mixed(func, args, tensors, far)
    asked = kwargs.get("device")
    here = {**kwargs, "device": torch.device("cpu")} if asked is not None and _is_far(asked) else kwargs
    found = func(*pytree.tree_map(_here, args), **pytree.tree_map(_here, here))
    if not (_is_far(asked) if asked is not None else _first_is_far(func, args, far)):
        return found
    Far.seen.add(func._schema.name)
    found = pytree.tree_map(lambda leaf: Far(leaf) if isinstance(leaf, torch.Tensor) else leaf, found)
    # what returns a part of what it was given, or that itself, must say so
    return found if found is None or asked is not None else return_and_correct_aliasing(func, args, kwargs, found)


def _refuse_mixed(func, args, tensors, far):
    if func in _COPIES or len(far) in (0, len(tensors)):
        return
    near = [tensor for tensor in tensors if not isinstance(tensor, Far)]
    if func in _INDEXING and isinstance(args[0], Far):
        near = [tensor for tensor in args[2:3] if not isinstance(tensor, Far)]  # places may be here, values may not
    written_here = func._schema.is_mutable and not isinstance(args[0], Far)
    if written_here or any(tensor.ndim for tensor in near):
        shapes = [tuple(tensor.shape) for tensor in near]
        raise MixedDevices(f"{func}: {len(far)} tensors are far away, these are not: {shapes}")


def _first_is_far(func, args, far):
    # what is written to decides; of anything else, whoever is far
    return isinstance(args[0], Far) if func is _aten.copy_.default else bool(far)


def _here(leaf):
    return leaf.here if isinstance(leaf, Far) else leaf


def _is_far(device):
    return torch.device(device).type == FAR.type


def _empty_strided(size, stride, dtype=None, layout=None, device=None, pin_memory=None):
    return Far(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))


def _empty(size, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None):
    return Far(torch.empty(size, dtype=dtype, device="cpu"))


def _copy_from(source, target, non_blocking=False):
    _here(target).copy_(_here(source))
    return target


# what `torch.tensor` and autocast do before any mode is asked; they are kept as long as this module
_KERNELS = torch.library.Library("aten", "IMPL")
_KERNELS.impl("empty_strided", _empty_strided, "PrivateUse1")
_KERNELS.impl("empty.memory_format", _empty, "PrivateUse1")
_KERNELS.impl("_copy_from", _copy_from, "PrivateUse1")
_FALLBACK = torch.library.Library("_", "IMPL")
_FALLBACK.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
