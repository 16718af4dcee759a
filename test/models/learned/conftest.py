import pytest
import torch

from mbrl_ros.models.learned import Base, Config, Guard, LearnedModel, Network, build_base

GUARD = Guard(residual=(3.0, 3.0, 5.0), longitudinal=12.0, lateral=12.0, sideslip=1.0)
PHYSICS = {"wheelbase": 0.33, "steering_delay": 0.04, "heading_offset": 0.01, "velocity_scale": 1.1}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tensors are small here: further threads only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make():
    """Makes learned models, with random weights in the last layer when they are to be ``trained``."""

    def build(base="single_track", network="gru", *, trained=True, dt=0.02, guard=GUARD, seed=0, **options):
        torch.manual_seed(seed)
        config = Config(
            dt=dt,
            reference_point="cg",
            base=Base(base, "acceleration", delay_s=(0.04, 0.0) if base == "inertia" else ()),
            network=Network(network, **{"members": 2, "hidden": 8, "history_s": 0.2, **options}),
            guard=guard,
        )
        size = 7 if network == "mlp" else 13
        mean, std = torch.linspace(-0.1, 0.1, size), torch.linspace(0.5, 2.0, size)
        model = LearnedModel(build_base(config, PHYSICS), config, mean.double(), std.double()).double()
        if trained:
            for layer in model.head.layers[-1:]:
                torch.nn.init.normal_(layer.weight)
        return model

    return build


@pytest.fixture
def cars():
    """Makes [N, 8] states of driving cars and [N, 2] actions."""

    def draw(count=50, seed=1):
        g = torch.Generator().manual_seed(seed)
        spread = torch.tensor([50.0, 50.0, 2.0, 1.0, 0.2, 0.5, 0.1, 1.0], dtype=torch.float64)
        state = spread * torch.randn(count, 8, generator=g, dtype=torch.float64)
        state[:, 3] = state[:, 3].abs() + 2.0
        action = torch.tensor([0.2, 1.0]) * torch.randn(count, 2, generator=g, dtype=torch.float64)
        return state, action

    return draw
