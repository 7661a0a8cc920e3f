"""Choice of the torch device; asking for an absent GPU fails before torch is imported."""

from __future__ import annotations

from pipeline.base.errors import ConfigError


def cuda_driver_sees_a_gpu() -> bool:
    """Ask the CUDA driver, without torch, for the number of devices."""
    import ctypes

    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def check_device(device: str) -> None:
    """Raise ConfigError for ``cuda`` on a machine without a CUDA device."""
    if device == "cuda" and not cuda_driver_sees_a_gpu():
        raise ConfigError("device", device, "no CUDA device on this machine; use device=cpu or device=auto")


def uses_cuda(device: str) -> bool:
    """Whether ``auto``, ``cpu`` or ``cuda`` stands for a GPU; torch is asked only where the driver sees one."""
    return device != "cpu" and cuda_driver_sees_a_gpu() and resolve_device(device) == "cuda"


def resolve_device(device: str) -> str:
    """``cpu`` or ``cuda`` for the configured ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ConfigError: cuda was asked for, the driver sees a GPU, but this torch was built without CUDA.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device", device, "this torch build cannot use the GPU; install a CUDA build or use device=cpu"
        )
    return device
