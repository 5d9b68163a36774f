"""The dynamic dual graph: relations between positions and between channels (arXiv 2203.14448 §3.2)."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from dmlcsr_jax.models.layers import LayerFactory, parameter_dtype
from dmlcsr_jax.ops.resize import resize_bilinear


class Projection(nn.Module):
    """x W over the last axis, without bias (in the published code a 1 x 1 convolution of vectors).

    The product is computed in the full precision of its dtype, also where accelerators round float32 by default.

    Attributes:
      make: maker of layers.
      features: size of the result's last axis.
    """

    make: LayerFactory
    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., I] -> [..., features]."""
        init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
        dtype = parameter_dtype(self.make.dtype)
        kernel = self.param("kernel", init, (x.shape[-1], self.features), dtype)
        x, kernel = x.astype(self.make.dtype), kernel.astype(self.make.dtype)
        return jnp.matmul(x, kernel, precision=jax.lax.Precision.HIGHEST)


class SpatialGraph(nn.Module):
    """Attention among the channels of a coarse map, then one graph convolution.

    With projections k, v, q [n, d] of x, the result is gamma * out(bn(k softmax(qT v) W)) + x. gamma starts at 0.

    Attributes:
      make: maker of layers.
    """

    make: LayerFactory

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, h, w, P] -> [B, h, w, P]; d = P / 2."""
        batch, height, width, features = x.shape
        k, v, q = (
            self.make.conv(features // 2, use_bias=True, name=f"node_{name}")(x).reshape(batch, -1, features // 2)
            for name in "kvq"
        )
        dtype = parameter_dtype(self.make.dtype)
        relation = jnp.einsum("bni,bnj->bij", q, v, preferred_element_type=dtype)
        relation = jax.nn.softmax(relation, axis=-1).astype(self.make.dtype)
        t = Projection(self.make, features // 2, name="conv_wg")(k @ relation)
        t = self.make.norm("none", absolute_scale=False, name="bn_wg")(t, train)
        t = t.reshape(batch, height, width, -1)
        t = self.make.conv_norm(t, train, "out", features, use_bias=True)
        gamma = self.param("gamma", nn.initializers.zeros, (), dtype)
        return gamma.astype(self.make.dtype) * t + x


class DualGraph(nn.Module):
    """Spatial graph and channel graph in parallel, fused by a 1 x 1 convolution.

    The spatial branch works at an eighth of the size and weights x with its result: s = x * local + x. The channel
    branch projects x to nodes Z = phi thetaT, updates them by learned relations, and projects them back:
    c = gamma1 * bn(conv(Z theta)) + x. gamma1 starts at 0.

    Z sums over all positions, up to thousands, but the update has the size of 1, which bfloat16 would round away: Z is
    at least float32 until it is normalized.

    Attributes:
      make: maker of layers.
    """

    make: LayerFactory

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, h, w, P] -> [B, h, w, P]."""
        features = x.shape[-1]
        both = jnp.concatenate([self._spatial(x, train), self._channel(x, train)], axis=-1)
        return self.make.conv_norm(both, train, "final", features)

    def _spatial(self, x: jax.Array, train: bool) -> jax.Array:
        features = x.shape[-1]
        local = x
        for i in range(3):
            local = self.make.conv_norm(local, train, "local", features, 3, strides=2, groups=features, first=2 * i)
        local = SpatialGraph(self.make, name="gcn_local_attention")(local, train)
        return x * resize_bilinear(local, x.shape[1:3]) + x

    def _channel(self, x: jax.Array, train: bool) -> jax.Array:
        batch, height, width, features = x.shape
        make = self.make
        exact = dataclasses.replace(make, dtype=parameter_dtype(make.dtype))
        phi = make.norm(name="bn_phi")(make.conv(features // 2, name="phi")(x), train)
        theta = make.norm(name="bn_theta")(make.conv(features // 4, name="theta")(x), train)
        phi = phi.reshape(batch, height * width, -1)
        theta = theta.reshape(batch, height * width, -1)
        nodes = jnp.einsum("bnp,bnt->bpt", phi, theta, preferred_element_type=exact.dtype)
        relations = Projection(exact, features // 4, name="conv_adj")(nodes)
        nodes = exact.norm("none", absolute_scale=False, name="bn_adj")(relations, train) + nodes
        nodes = Projection(exact, features // 2, name="conv_wg")(nodes.swapaxes(1, 2))
        nodes = exact.norm("none", absolute_scale=False, name="bn_wg")(nodes, train).astype(make.dtype)
        y = make.conv(features, name="conv3")((theta @ nodes).reshape(batch, height, width, -1))
        y = make.norm(name="bn3")(y, train)
        gamma = self.param("gamma1", nn.initializers.zeros, (), parameter_dtype(make.dtype))
        return gamma.astype(make.dtype) * y + x
