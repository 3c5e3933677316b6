"""The products of `crosstie-bench products` by NumPy on one thread, GFLOP/s, best of twenty.

    OPENBLAS_NUM_THREADS=1 python3 bench/peers/openblas.py --batch 4096

NumPy's wheel has OpenBLAS; OPENBLAS_CORETYPE chooses its kernel (SkylakeX: AVX-512,
Haswell or Zen: AVX2), and the line that is printed has the one used. It writes results
into whole matrices of their own, not into columns of a wider one.
"""

import argparse
import json
import time

import numpy
import threadpoolctl

CHUNK = 256
LAYERS = [(1, 320, 8 * 256), (8, 256, 128), (1, 320, 16), (2, 128, 64), (2, 64, 1)]


def best(chunks, work):
    """Processor seconds of the fastest of twenty rounds over all chunks, on this thread."""
    found = float("inf")
    for _ in range(20):
        start = time.thread_time()
        for chunk in chunks:
            work(chunk)
        found = min(found, time.thread_time() - start)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=4096)
    batch = parser.parse_args().batch
    count = -(-batch // CHUNK)
    rows = batch // count

    found = []

    def full(*shape):
        return numpy.full(shape, 0.1, numpy.float32)

    for groups, inputs, outputs in LAYERS:
        weights = full(groups, inputs, outputs)
        weight_gradient = full(groups, inputs, outputs)
        chunks = [
            (full(rows, groups * inputs), full(rows, groups * outputs), full(groups, rows, outputs), full(groups, rows, inputs))
            for _ in range(count)
        ]

        def forward(chunk):
            x, _, y, _ = chunk
            for group in range(groups):
                numpy.matmul(x[:, group * inputs : (group + 1) * inputs], weights[group], out=y[group])

        def of_inputs(chunk):
            _, g, _, into = chunk
            for group in range(groups):
                numpy.matmul(g[:, group * outputs : (group + 1) * outputs], weights[group].T, out=into[group])

        def of_weights(chunk):
            x, g, _, _ = chunk
            for group in range(groups):
                left, right = x[:, group * inputs : (group + 1) * inputs], g[:, group * outputs : (group + 1) * outputs]
                numpy.matmul(left.T, right, out=weight_gradient[group])

        for name, work in [("Forward", forward), ("Inputs", of_inputs), ("Weights", of_weights)]:
            gflop = 2e-9 * groups * inputs * outputs * rows * count
            shape = [rows, groups, inputs, outputs]
            found.append({"shape": shape, "pass": name, "gflop_per_s": gflop / best(chunks, work)})
    (library,) = threadpoolctl.threadpool_info()
    kernel = f"{library['version']} {library['architecture']}"
    print(json.dumps({"kernel": kernel, "threads": library["num_threads"], "shapes_on_one_thread": found}))


if __name__ == "__main__":
    main()
