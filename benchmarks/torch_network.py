"""The same network in plain PyTorch, for comparison; its state dict has the names of the published weights.

Modules are NCHW. `torch_network_of(variables)` computes the same as `dmlcsr_jax.models.DMLCSR` from the same variables,
also in training mode; `tests/benchmarks/torch_network_test.py` checks this.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.models.backbones import get_backbone
from dmlcsr_jax.models.backbones.resnet import DILATIONS, STRIDES, ResNet
from dmlcsr_jax.models.layers import EPSILON, LayerFactory
from dmlcsr_jax.models.pretrained import architecture, to_torch
from dmlcsr_jax.ops.activations import SLOPE
from dmlcsr_jax.types import Predictions


class Norm(nn.Module):
    """Activated batch norm: f((x - mean) / sqrt(var + 1e-5) * (|weight| + 1e-5) + bias); plain if not `absolute`."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, activation: str = "leaky_relu", *, absolute: bool = True):
        super().__init__()
        self.activation, self.absolute, self.momentum = activation, absolute, 0.1
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] -> [B, C, ...]; the activation overwrites its input to save memory."""
        weight = self.weight.abs() + EPSILON if self.absolute else self.weight
        statistics = self.running_mean, self.running_var
        x = functional.batch_norm(x, *statistics, weight, self.bias, self.training, self.momentum, EPSILON)
        if self.activation == "leaky_relu":
            return functional.leaky_relu(x, SLOPE, inplace=True)
        return functional.relu(x, inplace=True) if self.activation == "relu" else x


def conv(inside: int, outside: int, size: int = 1, *, bias: bool = False, **fields: Any) -> nn.Conv2d:
    """A convolution that keeps the size, apart from its stride."""
    padding = fields.get("dilation", 1) * (size // 2)
    return nn.Conv2d(inside, outside, size, padding=padding, bias=bias, **fields)


def conv_norm(inside: int, outside: int, size: int = 1, **fields: Any) -> list[nn.Module]:
    """A convolution and its activated norm."""
    return [conv(inside, outside, size, **fields), Norm(outside)]


def resize(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resizes [B, C, H, W] bilinearly with aligned corners."""
    return functional.interpolate(x, tuple(size), mode="bilinear", align_corners=True)


class Block(nn.Module):
    """Residual block with a bottleneck (1x1, 3x3, 1x1) or a basic branch (3x3, 3x3)."""

    def __init__(self, inside: int, width: int, *, bottleneck: bool, stride: int, dilation: int):
        super().__init__()
        outside = 4 * width if bottleneck else width
        spatial = {"stride": stride, "dilation": dilation}
        if bottleneck:
            self.conv1, self.conv2 = conv(inside, width), conv(width, width, 3, **spatial)
            self.conv3 = conv(width, outside)
        else:
            self.conv1, self.conv2 = conv(inside, width, 3, **spatial), conv(width, width, 3, dilation=dilation)
        self.depth = 3 if bottleneck else 2
        for i in range(1, self.depth + 1):
            last = i == self.depth
            setattr(self, f"bn{i}", Norm(outside if last else width, "leaky_relu" if last else "relu"))
        if stride != 1 or inside != outside:
            self.downsample = nn.Sequential(*conv_norm(inside, outside, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, H', W']."""
        y = x
        for i in range(1, self.depth + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
        shortcut = self.downsample(x) if hasattr(self, "downsample") else x
        return functional.relu(y + shortcut, inplace=True)


class SpatialGraph(nn.Module):
    """Attention between channels and a graph convolution on the coarse map."""

    def __init__(self, channels: int):
        super().__init__()
        half = channels // 2
        self.gamma = nn.Parameter(torch.zeros(1))
        self.node_k, self.node_v, self.node_q = (conv(channels, half, bias=True) for _ in range(3))
        self.conv_wg = nn.Conv1d(half, half, 1, bias=False)
        self.bn_wg = Norm(half, "none", absolute=False)
        self.out = nn.Sequential(*conv_norm(half, channels, bias=True))

    def forward(self, x: Tensor) -> Tensor:
        """[B, P, h, w] -> [B, P, h, w]."""
        k, v, q = (node(x).flatten(2) for node in (self.node_k, self.node_v, self.node_q))
        relation = torch.softmax(q @ v.transpose(1, 2), dim=-1)
        t = self.bn_wg(self.conv_wg(relation.transpose(1, 2) @ k))
        return self.gamma * self.out(t.reshape(*t.shape[:2], *x.shape[2:])) + x


class DualGraph(nn.Module):
    """The spatial and the channel graph in parallel."""

    def __init__(self, channels: int):
        super().__init__()
        half, quarter = channels // 2, channels // 4
        local = [conv_norm(channels, channels, 3, stride=2, groups=channels) for _ in range(3)]
        self.local = nn.Sequential(*(layer for pair in local for layer in pair))
        self.gcn_local_attention = SpatialGraph(channels)
        self.gamma1 = nn.Parameter(torch.zeros(1))
        self.phi, self.bn_phi = conv_norm(channels, half)
        self.theta, self.bn_theta = conv_norm(channels, quarter)
        self.conv_adj, self.bn_adj = nn.Conv1d(quarter, quarter, 1, bias=False), Norm(quarter, "none", absolute=False)
        self.conv_wg, self.bn_wg = nn.Conv1d(half, half, 1, bias=False), Norm(half, "none", absolute=False)
        self.conv3, self.bn3 = conv_norm(half, channels)
        self.final = nn.Sequential(*conv_norm(2 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, P, h, w] -> [B, P, h, w]."""
        local = resize(self.gcn_local_attention(self.local(x)), x.shape[2:])
        phi, theta = self.bn_phi(self.phi(x)).flatten(2), self.bn_theta(self.theta(x)).flatten(2)
        nodes = phi @ theta.transpose(1, 2)
        nodes = self.bn_adj(self.conv_adj(nodes.transpose(1, 2))).transpose(1, 2) + nodes
        y = (self.bn_wg(self.conv_wg(nodes)) @ theta).unflatten(2, x.shape[2:])
        channel = self.gamma1 * self.bn3(self.conv3(y)) + x
        return self.final(torch.cat([x * local + x, channel], dim=1))


class ContextHead(nn.Module):
    """The dual graph between two convolutions, fused with the encoder's last features."""

    def __init__(self, inside: int, channels: int):
        super().__init__()
        self.conva = nn.Sequential(*conv_norm(inside, channels, 3))
        self.dualgcn = DualGraph(channels)
        self.convb = nn.Sequential(*conv_norm(channels, channels, 3))
        self.bottleneck = nn.Sequential(*conv_norm(inside + channels, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, h, w] -> [B, P, h, w]."""
        return self.bottleneck(torch.cat([x, self.convb(self.dualgcn(self.conva(x)))], dim=1))


class ParsingHead(nn.Module):
    """Combines context at stride 8 with the first stage's features at stride 4."""

    def __init__(self, *, context: int, low_level: int, num_classes: int, width: int):
        super().__init__()
        reduced = 3 * width // 4
        self.conv1 = nn.Sequential(*conv_norm(context, 4 * width))
        self.conv2 = nn.Sequential(*conv_norm(low_level, reduced))
        self.conv3 = nn.Sequential(*conv_norm(4 * width + reduced, 4 * width), *conv_norm(4 * width, 4 * width))
        self.conv4 = conv(4 * width, num_classes, bias=True)

    def forward(self, context: Tensor, low_level: Tensor) -> Tensor:
        """Logits [B, C, h, w]."""
        up = resize(self.conv1(context), low_level.shape[2:])
        return self.conv4(self.conv3(torch.cat([up, self.conv2(low_level)], dim=1)))


class EdgeHead(nn.Module):
    """Binary and category edges from the first three stages."""

    def __init__(self, inside: list[int], num_classes: int, width: int):
        super().__init__()
        for i, channels in enumerate(inside, 1):
            setattr(self, f"conv{i}", nn.Sequential(*conv_norm(channels, 4 * width)))
        self.conv4 = conv(4 * width, num_classes, 3, bias=True)
        self.conv5 = conv(3 * num_classes, num_classes, bias=True)
        self.conv5_b = conv(3 * num_classes, 2, bias=True)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits [B, 2, h, w] and [B, C, h, w]."""
        edges = [self.conv4(getattr(self, f"conv{i}")(x)) for i, x in enumerate(features, 1)]
        edge = torch.cat([edges[0], *(resize(e, features[0].shape[2:]) for e in edges[1:])], dim=1)
        return self.conv5_b(edge), self.conv5(edge)


class TorchDMLCSR(nn.Module):
    """DML-CSR with the published deep stem and activated batch norm; fields as in `dmlcsr_jax.models.DMLCSR`."""

    def __init__(self, num_classes: int, backbone: str = "resnet101", width: int = 64):
        super().__init__()
        encoder = get_backbone(backbone, make=LayerFactory())
        if not isinstance(encoder, ResNet):
            raise RuntimeError(f"{backbone} is not a ResNet, which is all that the peer has")
        sizes, bottleneck = encoder.stage_sizes, encoder.bottleneck
        self.conv1, self.bn1 = conv(3, width, 3, stride=2), Norm(width, "relu")
        self.conv2, self.bn2 = conv(width, width, 3), Norm(width, "relu")
        self.conv3, self.bn3 = conv(width, 2 * width, 3), Norm(2 * width, "relu")
        channels = [2 * width, *(width * 2**stage * (4 if bottleneck else 1) for stage in range(4))]
        for stage, size in enumerate(sizes):
            blocks = [
                Block(
                    channels[stage + (i > 0)],
                    width * 2**stage,
                    bottleneck=bottleneck,
                    stride=1 if i else STRIDES[stage],
                    dilation=DILATIONS[stage],
                )
                for i in range(size)
            ]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.context = ContextHead(channels[4], 8 * width)
        self.layer6 = ParsingHead(context=8 * width, low_level=channels[1], num_classes=num_classes, width=width)
        self.edge_layer = EdgeHead(channels[1:4], num_classes, width)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Images [B, 3, H, W] -> the features of the four stages."""
        for i in (1, 2, 3):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))
        x, features = functional.max_pool2d(x, 3, 2, 1), []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            features.append(x)
        return features

    def parse(self, x: Tensor) -> Tensor:
        """The parsing logits [B, C, H / 4, W / 4] without the edge heads."""
        features = self.encode(x)
        return self.layer6(self.context(features[3]), features[0])

    def forward(self, x: Tensor) -> Predictions:
        """The logits of all heads."""
        features = self.encode(x)
        return Predictions(self.layer6(self.context(features[3]), features[0]), *self.edge_layer(features[:3]))


def torch_network_of(variables: Mapping[str, Any]) -> TorchDMLCSR:
    """The PyTorch network with these Flax variables (deep stem, activated batch norm, all heads), in inference mode."""
    state_dict = {name: torch.tensor(array) for name, array in to_torch(variables).items()}
    try:
        fields = architecture(state_dict)
    except UserError as error:
        raise RuntimeError("the peer has only ResNets") from error
    network = TorchDMLCSR(fields["num_classes"], fields["backbone"], fields["width"])
    network = network.to(state_dict["conv1.weight"].dtype)
    network.load_state_dict(state_dict)
    return network.eval()
