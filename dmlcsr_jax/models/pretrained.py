"""Published PyTorch weights to Flax variables and back; only names and layouts change, never a number.

A module is called here as there, except that a number in a Sequential hangs on by an underscore
(`layer1.0` is `layer1_0`) and that parts have the names of `_PARTS`.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.models.backbones.resnet import RESNETS
from dmlcsr_jax.models.dml_csr import DMLCSR

_PARTS = {"context": "context", "layer6": "parsing_head", "edge_layer": "edge_head"}  # else: encoder
_LEAVES = {
    ("params", "kernel"): "weight",
    ("params", "scale"): "weight",
    ("params", "bias"): "bias",
    ("params", "gamma"): "gamma",
    ("params", "gamma1"): "gamma1",
    ("batch_stats", "mean"): "running_mean",
    ("batch_stats", "var"): "running_var",
}
_COUNTER = "num_batches_tracked"  # PyTorch's count of training steps; nothing here reads it
_SHOWN = 3

Variables = dict[str, Any]


def from_torch(state_dict: Mapping[str, Any]) -> Variables:
    """Flax variables of a published DML-CSR state dict, for `DMLCSR(**architecture(state_dict))`.

    Convolution kernels go from OIHW to HWIO, the graph's [out, in, 1] to [in, out], scales keep their sign.
    `num_batches_tracked` is dropped: the running statistics do not depend on it.

    Args:
      state_dict: name -> array or tensor; with or without edge heads, with or without the prefix `module.`.

    Returns:
      {"params", "batch_stats"}, nested dictionaries of numpy arrays.

    Raises:
      UserError: entries are missing, surplus or of another shape than the network's.
    """
    arrays = _arrays(state_dict)
    model = DMLCSR(**architecture(arrays))
    return _convert(arrays, _template(model), "state dict")


def architecture(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of DMLCSR that a state dict of the published layout implies.

    Args:
      state_dict: as for `from_torch`.

    Returns:
      num_classes, backbone, width, stem, edge_heads, dual_graph. (The norm does not show in names and shapes.)

    Raises:
      UserError: it is not the state dict of such a network.
    """
    shapes = {_strip(name): np.shape(value) for name, value in state_dict.items()}
    for name in ("conv1.weight", "layer6.conv4.weight"):
        shape = list(shapes.get(name, ()))
        if len(shape) != 4 or shape[0] < 2:
            raise UserError(f"state dict: {name!r} should be [outputs, inputs, height, width], is {shape or 'missing'}")
    return {
        "num_classes": shapes["layer6.conv4.weight"][0],
        "backbone": _backbone(shapes),
        "width": shapes["conv1.weight"][0],
        "stem": "plain" if shapes["conv1.weight"][2] == 7 else "deep",
        "edge_heads": any(name.startswith("edge_layer.") for name in shapes),
        "dual_graph": any(name.startswith("context.dualgcn.") for name in shapes),
    }


def to_torch(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The reverse of `from_torch`: the published state dict of Flax variables, bit for bit.

    Args:
      variables: {"params", "batch_stats"} of a DMLCSR.

    Returns:
      name -> array, in PyTorch's layouts, `num_batches_tracked` of every batch norm 0 (int64).
    """
    state_dict = {}
    for path, value in _flatten(variables).items():
        name = _torch_name(path)
        state_dict[name] = _to_torch_layout(np.asarray(value))
        if path[-1] == "var":
            state_dict[name.replace("running_var", _COUNTER)] = np.zeros((), np.int64)
    return state_dict


def load_backbone(variables: Mapping[str, Any], state_dict: Mapping[str, Any]) -> Variables:
    """Variables with an ImageNet ResNet's weights in the encoder, the rest as it was.

    For torchvision's ResNets the model needs `stem="plain", norm="batch_norm"`, and then computes what
    torchvision does but for strides and dilations. With norm "abn" the same numbers load, and a channel
    differs by |scale| + 1e-5 for scale and by the leaky slope on the shortcuts. `fc.*`, the ImageNet
    classifier, and `num_batches_tracked` are left out.

    Args:
      variables: {"params", "batch_stats"} of a DMLCSR.
      state_dict: name -> array or tensor of a torchvision-style ResNet or of the published deep-stem one.

    Raises:
      UserError: entries are missing, surplus or of another shape than the encoder's.
    """
    arrays = {name: value for name, value in _arrays(state_dict).items() if not name.startswith("fc.")}
    template = {kind: {"encoder": variables[kind]["encoder"]} for kind in ("params", "batch_stats")}
    loaded = _convert(arrays, template, "backbone's state dict (needs the same backbone, width and stem)")
    return {kind: {**variables[kind], **loaded[kind]} for kind in ("params", "batch_stats")}


def _convert(arrays, template, source) -> Variables:
    expected = {_torch_name(path): (path, leaf) for path, leaf in _flatten(template).items()}
    shapes = {name: _torch_shape(leaf.shape) for name, (_, leaf) in expected.items()}
    arrays = {name: value for name, value in arrays.items() if not name.endswith(_COUNTER)}
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
    variables: Variables = {}
    for name, (path, leaf) in expected.items():
        node = variables
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = _to_flax_layout(arrays[name], leaf.ndim)
    return variables


def _template(model: DMLCSR):
    return jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 33, 33, 3), jnp.float32))


def _arrays(state_dict) -> dict[str, np.ndarray]:
    if not isinstance(state_dict, Mapping) or not all(isinstance(name, str) for name in state_dict):
        raise UserError(f"state dict: should map names to arrays, is {type(state_dict).__name__}")
    return {_strip(name): _array(name, value) for name, value in state_dict.items()}


def _array(name, value) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
    array = np.asarray(value)
    if array.dtype.kind != "f" and not name.endswith(_COUNTER):
        raise UserError(f"state dict: {name!r} should be an array of floating point, is {type(value).__name__}")
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _strip(name: str) -> str:
    return name.removeprefix("module.")


def _backbone(shapes) -> str:
    blocks = [set(re.findall(rf"layer{stage}\.(\d+)\.", " ".join(shapes))) for stage in (1, 2, 3, 4)]
    bottleneck = any(re.fullmatch(r"layer1\.\d+\.conv3\.weight", name) for name in shapes)

    def distance(name):
        fields = RESNETS[name]
        difference = sum(abs(len(a) - b) for a, b in zip(blocks, fields["stage_sizes"], strict=True))
        return fields["bottleneck"] != bottleneck, difference

    return min(RESNETS, key=distance)


def _flatten(tree, path=()) -> dict[tuple[str, ...], Any]:
    if not isinstance(tree, Mapping):
        return {path: tree}
    return {key: leaf for name, branch in tree.items() for key, leaf in _flatten(branch, (*path, name)).items()}


def _torch_name(path: tuple[str, ...]) -> str:
    kind, part, *modules, leaf = path
    prefix = [torch for torch, flax in _PARTS.items() if flax == part]
    modules = [re.sub(r"_(\d+)$", r".\1", module) for module in modules]
    return ".".join([*prefix, *modules, _LEAVES[kind, leaf]])


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return _to_torch_layout(np.broadcast_to(np.float32(0), shape)).shape


def _to_torch_layout(value: np.ndarray) -> np.ndarray:
    if value.ndim == 4:
        return np.ascontiguousarray(value.transpose(3, 2, 0, 1))
    if value.ndim == 2:
        return np.ascontiguousarray(value.T)[..., None]
    return value.reshape(-1)


def _to_flax_layout(value: np.ndarray, ndim: int) -> np.ndarray:
    if ndim == 4:
        return np.ascontiguousarray(value.transpose(2, 3, 1, 0))
    if ndim == 2:
        return np.ascontiguousarray(value[..., 0].T)
    return value.reshape(-1) if ndim else value.reshape(())
