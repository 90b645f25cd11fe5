"""What devices reach at most, so that the log can say what share of it a run reaches (MFU).

Dense bfloat16 products with float32 sums, operations per second, from the makers' data sheets (where a sheet has a
figure for sparse matrices, half of it), as torch names the devices. Frequencies under load are often lower.
"""

from __future__ import annotations

_PEAKS: tuple[tuple[tuple[str, ...], float], ...] = (
    (("B200",), 2250e12),  # NVIDIA HGX B200 data sheet: 36 PFLOPS of 8, sparse
    (("GH200",), 989.4e12),  # NVIDIA GH200 data sheet
    (("H200", "NVL"), 835.5e12),  # NVIDIA H200 data sheet: 1,671 TFLOPS, sparse
    (("H200",), 989.4e12),  # the same: 1,979 TFLOPS, sparse
    (("H100", "NVL"), 835.5e12),  # NVIDIA H100 data sheet: 1,671 TFLOPS, sparse
    (("H100", "PCIe"), 756.5e12),  # the same, of 2022: 1,513 TFLOPS, sparse
    (("H100",), 989.4e12),  # the same: 1,979 TFLOPS, sparse
    (("A100",), 312e12),  # NVIDIA A100 data sheet
    (("A40",), 149.7e12),  # NVIDIA A40 data sheet
    (("A10",), 125e12),  # NVIDIA A10 data sheet
    (("L40S",), 362.05e12),  # NVIDIA L40S data sheet
    (("L4",), 121e12),  # NVIDIA L4 data sheet: 242 TFLOPS, sparse
    (
        ("MI250X",),
        191.5e12,
    ),  # AMD Instinct MI250X data sheet: 383 TFLOPS, of two devices of torch
    (("MI300X",), 1307.4e12),  # AMD Instinct MI300X data sheet
)


def peak_flops(device: str, *, dtype: str) -> float | None:
    """Operations per second of the device of this name at most; None where that is not known, or of a part of a device.

    >>> peak_flops("NVIDIA H100 80GB HBM3", dtype="bfloat16"), peak_flops("NVIDIA H100 PCIe", dtype="bfloat16")
    (989400000000000.0, 756500000000000.0)
    >>> peak_flops("NVIDIA A100-SXM4-40GB MIG 1g.5gb", dtype="bfloat16"), peak_flops("NVIDIA A10G", dtype="bfloat16")
    (None, None)
    """
    words = set(device.replace("-", " ").split())
    if dtype != "bfloat16" or "MIG" in words:
        return None
    return next((peak for names, peak in _PEAKS if words.issuperset(names)), None)
