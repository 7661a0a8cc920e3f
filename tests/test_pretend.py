"""The pretend accelerator: what a GPU refuses it refuses, what a GPU allows it computes, with the CPU's numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, jvp, vmap

from pipeline.base.run.device import check_device, resolve_device
from pipeline.base.store.files import load_tree, save_tree
from tests import pretend

MIXED = "Expected all tensors to be on the same device"


@pytest.fixture(autouse=True)
def device() -> Iterator[torch.device]:
    with pretend.accelerator() as found:
        yield found


def there(tensor: Tensor) -> Tensor:
    """On the pretend device."""
    return tensor.to("cuda")


FACTORIES: dict[str, Callable[[Any], Tensor]] = {
    "zeros": lambda d: torch.zeros(3, device=d),
    "full": lambda d: torch.full((3,), 2, device=d),
    "arange": lambda d: torch.arange(3, device=d),
    "eye": lambda d: torch.eye(3, device=d),
    "tensor": lambda d: torch.tensor([1.0, 2.0], device=d),
    "as_tensor": lambda d: torch.as_tensor(np.ones(3), device=d),
    "rand": lambda d: torch.rand(3, device=d),
    "rand_seeded": lambda d: torch.rand(3, device=d, generator=torch.Generator(d)),
    "to": lambda d: torch.ones(3).to(d),
    "to_dtype": lambda d: torch.ones(3).to(d, torch.float64),
    "new_zeros": lambda d: torch.ones(3).new_zeros(2, device=d),
    "module": lambda d: nn.Linear(2, 2).to(d).weight,
    "sparse": lambda d: torch.eye(3, device=d).to_sparse_csr().values(),
}


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("claimed", ["cuda", "cuda:0", torch.device("cuda")])
def test_tensors_claim_the_device(name: str, claimed: Any) -> None:
    made = FACTORIES[name](claimed)
    for tensor in (made, made + 1, made[:1], made.clone(), torch.zeros_like(made), made.double().sum(), made.detach()):
        assert tensor.device == torch.device("cuda", 0)
        assert tensor.is_cuda
    here = FACTORIES[name]("cpu")
    assert here.device.type == "cpu"
    assert not here.is_cuda


def test_a_run_sees_a_gpu() -> None:
    check_device("cuda")
    assert resolve_device("auto") == "cuda"
    assert torch.cuda.get_device_properties("cuda").total_memory == pretend.MEMORY


def test_moving_between_devices() -> None:
    tensor = there(torch.arange(3.0))
    assert tensor.to("cuda") is tensor
    assert tensor.cuda() is tensor
    for back in (tensor.cpu(), tensor.to("cpu"), torch.zeros(3).copy_(tensor)):
        assert back.device.type == "cpu"
        assert back.numpy().tolist() == [0.0, 1.0, 2.0]
    assert torch.zeros(3, device="cuda").copy_(torch.arange(3.0)).tolist() == [0.0, 1.0, 2.0]
    assert (tensor.tolist(), tensor[1].item(), float(tensor[2]), bool(tensor[0] == 0)) == ([0.0, 1.0, 2.0], 1, 2, True)


def test_numpy_refuses() -> None:
    tensor = torch.ones(3, device="cuda")
    for convert in (lambda: tensor.numpy(), lambda: tensor.detach().numpy(), lambda: np.asarray(tensor)):
        with pytest.raises(TypeError, match=r"can't convert cuda:0 device type tensor to numpy"):
            convert()
    with pytest.raises(TypeError):
        memoryview(tensor)  # type: ignore[arg-type]
    assert np.asarray(torch.ones(3)).sum() == 3


A, B, FLAGS = torch.arange(9.0).reshape(3, 3), torch.ones(3, 3), torch.tensor([True, False, True])
MIXTURES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "add": lambda a, b: a + b,
    "in_place": lambda a, b: a.add_(b),
    "matmul": lambda a, b: a @ b,
    "cat": lambda a, b: torch.cat([a, b]),
    "stack": lambda a, b: torch.stack([a[0, 0], b[0, 0]]),
    "where": lambda a, b: torch.where(a > 1, a, b),
    "linear": lambda a, b: nn.functional.linear(a, b),
    "conv": lambda a, b: nn.functional.conv2d(a[None, None], b[None, None]),
    "solve": lambda a, b: torch.linalg.solve(a + 20 * torch.eye(3, device=a.device), b),
    "index_add": lambda a, b: a.index_add_(0, torch.arange(3, device=a.device), b),
    "index_values": lambda a, b: a.index_put_((torch.arange(2, device=a.device),), b[:2]),
    "gather": lambda a, b: a.gather(0, b.long()),
    "equal": lambda a, b: torch.equal(a, b),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_mixtures_are_refused(name: str) -> None:
    mix = MIXTURES[name]
    with pytest.raises(RuntimeError, match=MIXED):
        mix(there(A), B.clone())
    with pytest.raises(RuntimeError, match=MIXED):
        mix(A.clone(), there(B))
    same, expected = mix(there(A), there(B)), mix(A.clone(), B)
    assert torch.equal(same.cpu(), expected) if isinstance(same, Tensor) else same == expected


def test_numbers_of_the_cpu_may_come_along() -> None:
    tensor, number = there(A), torch.tensor(2.0)
    found = (tensor * number, number - tensor, torch.where(tensor > 1, tensor, number), tensor.clone().add_(number))
    expected = (A * 2, 2 - A, torch.where(A > 1, A, 2.0), A + 2)
    for one, other in zip(found, expected, strict=True):
        assert one.device.type == "cuda"
        assert torch.equal(one.cpu(), other)
    for mix in (
        lambda: A * there(number),  # the other way round
        lambda: number.clone().add_(there(number)),
        lambda: torch.stack([tensor[0, 0], number]),
    ):
        with pytest.raises(RuntimeError, match=MIXED):
            mix()


def test_indices() -> None:
    tensor, index = there(A), torch.tensor([2, 0])
    for allowed in (tensor[index], tensor[there(index)], tensor[[2, 0]]):
        assert allowed.device.type == "cuda"
        assert torch.equal(allowed.cpu(), A[index])
    assert torch.equal(tensor[FLAGS].cpu(), A[FLAGS])
    tensor[index] = 7.0
    tensor[1, [0, 1]] = torch.tensor(8.0)
    assert tensor.tolist() == [[7, 7, 7], [8, 8, 5], [7, 7, 7]]
    copy = A.clone()
    copy[index] = there(torch.tensor(7.0))
    assert copy[index].eq(7).all()
    for refused in (lambda: A[there(index)], lambda: A[there(FLAGS)], lambda: copy.index_fill_(0, there(index), 1.0)):
        with pytest.raises(RuntimeError, match=MIXED):
            refused()


def test_generators() -> None:
    def draw(generator: torch.Generator, device: str) -> Tensor:
        return torch.rand(1000, generator=generator, device=device)

    ours, theirs = torch.Generator("cuda").manual_seed(3), torch.Generator().manual_seed(3)
    assert (ours.device.type, theirs.device.type) == ("cuda", "cpu")
    numbers = draw(ours, "cuda")
    assert numbers.device.type == "cuda"
    assert not torch.equal(numbers.cpu(), draw(theirs, "cpu"))
    assert torch.equal(numbers, draw(torch.Generator("cuda").manual_seed(3), "cuda"))
    assert not torch.equal(numbers, draw(ours, "cuda"))
    assert 0.4 < numbers.mean() < 0.6
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator but found 'cpu'"):
        draw(theirs, "cuda")
    with pytest.raises(RuntimeError, match="Expected a 'cpu' device type for generator but found 'cuda'"):
        draw(ours, "cpu")
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device"):
        numbers.normal_(generator=theirs)
    assert torch.bernoulli(numbers, generator=ours).device.type == "cuda"


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def derivatives(module: nn.Module, x: Tensor) -> list[Tensor]:
    """What the derivatives of the project are made of."""
    parameters = {name: p.detach() for name, p in module.named_parameters()}

    def value(parameters: dict[str, Tensor], row: Tensor) -> Tensor:
        assert row.device.type == x.device.type  # also inside the transformations
        return functional_call(module, parameters, (row,)).sum()

    found = [*vmap(grad(value), in_dims=(None, 0))(parameters, x).values(), jacrev(module)(x)]
    found.append(jvp(lambda row: module(row), (x,), (x + 1,))[1])
    module(x).square().sum().backward()
    found += [p.grad for p in module.parameters() if p.grad is not None]
    for optimizer in (torch.optim.Adam(module.parameters()), torch.optim.SGD(module.parameters(), 0.1, 0.9)):
        optimizer.step()
    with torch.inference_mode():
        return [*found, *(p.detach() for p in module.parameters()), module(x)[:, None].squeeze_(1).add_(1)]


def complex_numbers(x: Tensor) -> list[Tensor]:
    z = torch.view_as_complex(torch.stack([x, x.flip(0)], dim=-1).contiguous())
    matrix = z @ z.mH + 3 * torch.eye(len(z), dtype=z.dtype, device=z.device)
    factor = torch.linalg.cholesky_ex(matrix)[0]
    solution = torch.cholesky_solve(z, factor)
    z.conj()[0].mul_(2)
    return [
        z,
        z.conj() * z,
        z.conj().imag,
        torch.polar(x, x).real,
        solution,
        torch.linalg.eigvalsh(matrix),
        z.mH.conj(),
    ]


def integers(x: Tensor) -> list[Tensor]:
    counts = torch.unique((3 * x).long(), dim=0, return_inverse=True, return_counts=True)
    matrix = torch.sparse_csr_tensor(
        torch.tensor([0, 1, 3], device=x.device),
        torch.tensor([0, 0, 1], device=x.device),
        torch.ones(3, dtype=x.dtype, device=x.device, requires_grad=False),
        size=(2, 5),
        check_invariants=True,
    )
    vector = x.clone().requires_grad_()
    (matrix @ vector).square().sum().backward()
    assert vector.grad is not None
    return [*counts, torch.nonzero(x > 0.5), matrix @ x, matrix.to("cpu").values().to(x.device), vector.grad]


@pytest.mark.parametrize("compute", [complex_numbers, integers], ids=["complex", "integers"])
def test_numbers_are_those_of_the_cpu(compute: Callable[[Tensor], list[Tensor]]) -> None:
    x = torch.rand((5, 3), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for found, expected in zip(compute(there(x)), compute(x), strict=True):
        assert found.device.type == "cuda"
        assert torch.equal(found.cpu(), expected)


def test_derivatives_are_those_of_the_cpu() -> None:
    x = torch.rand((5, 3), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for found, expected in zip(derivatives(network().to("cuda"), there(x)), derivatives(network(), x), strict=True):
        assert found.device.type == "cuda"
        assert torch.equal(found.cpu(), expected)


def test_gradients_go_back_to_where_the_leaf_is() -> None:
    leaf = torch.ones(3, requires_grad=True)
    (leaf.to("cuda") * 2).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.device.type == "cpu"
    assert leaf.grad.tolist() == [2, 2, 2]


def test_state_comes_back_from_disk(tmp_path: Path) -> None:
    module = network().to("cuda")
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(3, dtype=torch.float64, device="cuda")).sum().backward()
    optimizer.step()
    save_tree(tmp_path / "state", {"module": module.state_dict(), "optimizer": optimizer.state_dict()})
    tree = load_tree(tmp_path / "state")
    assert tree["module"]["0.weight"].device.type == "cpu"
    again = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double().to("cuda")
    other = torch.optim.Adam(again.parameters())
    again.load_state_dict(tree["module"])
    other.load_state_dict(tree["optimizer"])
    for one, two in zip(module.parameters(), again.parameters(), strict=True):
        assert two.device.type == "cuda"
        assert torch.equal(one, two)
        assert other.state[two]["exp_avg"].device.type == "cuda"
