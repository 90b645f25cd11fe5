"""The hot loops, compiled by Numba over Arrow-like buffers, each with a readable twin in `dolma.kernels.reference`.

Importing this package loads neither Numba nor NumPy; its modules do. What a run needs is compiled before its workers
start: `dolma/runner/compiling.py`.
"""
