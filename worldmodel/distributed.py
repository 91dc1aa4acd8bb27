"""Training in many processes: torchrun's group, data parallel (DDP) or sharded (FSDP2).

``torchrun --nproc-per-node 2 -m arm_worldmodel train ...`` starts the processes; without torchrun
everything here does nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.fsdp import (
    FSDPModule,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.nn.parallel import DistributedDataParallel

from worldmodel.attention import Block
from worldmodel.config import Parallel

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def world() -> tuple[int, int]:
    """This process's rank and how many there are; joins torchrun's group when first asked."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return 0, 1
    if not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group()  # gloo for what lies on CPUs, nccl for GPUs
        atexit.register(dist.destroy_process_group)
    return dist.get_rank(), size


@contextlib.contextmanager
def first_alone() -> Iterator[bool]:
    """The first process runs the block before the others do; whether this is the first."""
    rank, size = world()
    if rank:
        dist.barrier()
    try:
        yield rank == 0
    finally:
        if size > 1 and rank == 0:
            dist.barrier()


def wrap(module: nn.Module, parallel: Parallel, device: torch.device) -> nn.Module:
    """``module`` wrapped for training in all processes, in DDP or FSDP2; itself where there is
    only one."""
    if world()[1] == 1:
        return module
    if parallel == "fsdp":
        for part in module.modules():
            if isinstance(part, Block):
                fully_shard(part)
                register_fsdp_forward_method(part, "extend")
        fully_shard(module)  # in place
        return module
    cuda = device.type == "cuda"
    return DistributedDataParallel(
        module, device_ids=[torch.cuda.current_device()] if cuda else None
    )


@contextlib.contextmanager
def synchronised(model: nn.Module, now: bool) -> Iterator[None]:
    """Whether the backward passes in the block add gradients up over the processes."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(now)
        yield
    elif isinstance(model, DistributedDataParallel) and not now:
        with model.no_sync():
            yield
    else:
        yield


def mean(value: float) -> float:
    """Mean of ``value`` over all processes."""
    if not dist.is_initialized():
        return value
    total = torch.tensor(value, dtype=torch.float64)
    dist.all_reduce(total)
    return total.item() / dist.get_world_size()


def whole_state(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Weights and optimiser of all processes put together; empty in all but the first."""
    weights, moments = get_state_dict(model, optimiser, options=WHOLE)
    return {"module": weights, "optimiser": moments}


def load_state(
    model: nn.Module, optimiser: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Load what ``whole_state`` gave, into any number of processes."""
    set_state_dict(
        model, optimiser, model_state_dict=state["module"],
        optim_state_dict=state["optimiser"], options=WHOLE,
    )
