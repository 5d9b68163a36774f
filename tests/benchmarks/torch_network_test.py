"""The PyTorch network and losses of the benchmarks compute the same as the package."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlcsr_jax.losses import multi_task_loss
from dmlcsr_jax.models import DMLCSR
from dmlcsr_jax.models.pretrained import from_torch, to_torch
from dmlcsr_jax.types import Predictions
from tests.golden.parameters import state_dict

torch = pytest.importorskip("torch")

from benchmarks import torch_losses  # noqa: E402
from benchmarks.torch_network import torch_network_of  # noqa: E402


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def network(backbone):
    model = DMLCSR(5, backbone=backbone, width=8, dtype=jnp.float64)
    template = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 33, 33, 3))))
    shapes = {name: array.shape for name, array in to_torch(jax.tree.map(jnp.zeros_like, template)).items()}
    variables = from_torch(state_dict(shapes))
    return model, jax.tree.map(lambda array: array.astype(np.float64), variables)


def batch():
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, (2, 5, 6)).repeat(11, 1).repeat(12, 2)  # class 4 does not occur
    labels[0, :9, :9] = 255
    return random.normal(size=(*labels.shape, 3)), labels


def assert_close(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        other = other.detach().movedim(1, -1).numpy()
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9 * np.abs(other).max())


@pytest.mark.parametrize(("backbone", "train"), [("tiny", True), ("tiny", False), ("resnet50", False)])
def test_logits_equal_ours(backbone, train):
    model, variables = network(backbone)
    images, _ = batch()
    forward = jax.jit(lambda variables, images: model.apply(variables, images, train=train, mutable=["batch_stats"]))
    ours, updated = forward(variables, images)
    theirs = torch_network_of(variables).train(train)
    assert_close(ours, theirs(torch.from_numpy(images).movedim(-1, 1)))
    statistics = to_torch({"params": variables["params"], **updated})
    for name, tensor in theirs.state_dict().items():
        np.testing.assert_allclose(tensor.numpy(), statistics[name], rtol=1e-9, atol=1e-12)


def test_loss_terms_and_their_gradients_equal_ours():
    _, labels = batch()
    random = np.random.default_rng(1)
    logits = [random.normal(size=(2, 14, 18, channels)) for channels in (5, 2, 5)]
    theirs = [torch.from_numpy(array).movedim(-1, 1).requires_grad_() for array in logits]
    total, terms = torch_losses.multi_task_loss(theirs, torch.from_numpy(labels))
    total.backward()
    (our_total, our_terms), gradients = jax.jit(jax.value_and_grad(multi_task_loss, has_aux=True))(
        Predictions(*map(jnp.asarray, logits)), jnp.asarray(labels)
    )
    assert set(terms) == set(our_terms)
    for name, value in terms.items():
        np.testing.assert_allclose(our_terms[name], value.item(), rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(our_total, total.item(), rtol=1e-9)
    assert_close(gradients, [tensor.grad for tensor in theirs])
