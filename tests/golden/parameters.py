"""Deterministic parameters, drawn by name: the same arrays in every framework."""

import zlib

import numpy as np


def tensor(name, shape, seed):
    r = np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**32)
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if leaf == "running_mean":
        return (0.1 * r.standard_normal(shape)).astype(np.float32)
    if leaf == "running_var":
        return r.uniform(0.5, 1.5, shape).astype(np.float32)
    if leaf in ("gamma", "gamma1"):
        return r.uniform(0.5, 1.0, shape).astype(np.float32)
    if leaf == "weight" and len(shape) == 1:  # batch norm scale, one in five negative
        return (r.uniform(0.5, 1.0, shape) * np.where(r.uniform(size=shape) < 0.2, -1, 1)).astype(np.float32)
    if leaf == "bias":
        return (0.1 * r.standard_normal(shape)).astype(np.float32)
    fan_in = int(np.prod(shape[1:]))
    return (r.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)


def state_dict(shapes, seed=0):
    return {name: tensor(name, tuple(shape), seed) for name, shape in shapes.items()}
