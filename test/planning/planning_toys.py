"""Small systems with known answers, to plan on."""

import numpy as np
import torch

from mbrl_ros.core.layout import Layout

FORCE = Layout(("force",), ("N",))


class DoubleIntegrator(torch.nn.Module):
    """A unit mass on a line, pushed by a force that is held over each step."""

    kind = "double_integrator"
    state_layout = Layout(("position", "velocity"), ("m", "m/s"))
    action_layout = FORCE
    reference_point = "cg"

    def __init__(self, dt=0.1, delay=0.0):
        super().__init__()
        self.dt = dt
        self.mass = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
        self.register_buffer("delay", torch.tensor([delay], dtype=torch.float64))

    def forward(self, state, action):
        position, velocity = state.unbind(-1)
        acceleration = action[..., 0] / self.mass
        following = velocity + acceleration * self.dt
        return torch.stack([position + velocity * self.dt + acceleration * self.dt**2 / 2, following], dim=-1)

    def matrices(self):
        """A [2, 2] and B [2, 1] of s' = A s + B a."""
        dt, mass = self.dt, self.mass.item()
        return np.array([[1.0, dt], [0.0, 1.0]]), np.array([[dt**2 / 2], [dt]]) / mass


class Regulate(torch.nn.Module):
    """Quadratic costs of being away from the origin and of pushing."""

    term_names = ("position", "velocity", "effort")
    action_layout = FORCE

    def __init__(self, dt=0.1, weights=(1.0, 0.1, 0.1), limit=3.0, offset=0.0):
        super().__init__()
        self.dt = dt
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float64))
        self.register_buffer("limit", torch.tensor([limit], dtype=torch.float64))
        self.register_buffer("offset", torch.tensor(offset, dtype=torch.float64))

    def bounds(self):
        return -self.limit, self.limit

    def terms(self, state, action, next_state):
        return {
            "position": -self.weights[0] * next_state[..., 0] ** 2 + self.offset,
            "velocity": -self.weights[1] * next_state[..., 1] ** 2,
            "effort": -self.weights[2] * action[..., 0] ** 2,
        }

    def reward(self, state, action, next_state):
        return sum(self.terms(state, action, next_state).values())

    def terminal(self, state):
        return torch.zeros_like(state[..., 0], dtype=torch.bool)


class Indifferent(Regulate):
    """Every plan costs the same."""

    def __init__(self, dt=0.1, limit=3.0):
        super().__init__(dt, (0.0, 0.0, 0.0), limit)


def optimal_gains(model, task, horizon):
    """[H, 1, 2] gains K_t of the finite-horizon optimum a = -K s, by the Riccati recursion."""
    a, b = model.matrices()
    w = task.weights.numpy()
    q, r = np.diag(w[:2]), np.array([[w[2]]])
    value, gains = np.zeros((2, 2)), []
    for _ in range(horizon):
        m = q + value  # the state's cost is taken after the step
        gain = np.linalg.solve(r + b.T @ m @ b, b.T @ m @ a)
        value = a.T @ m @ a - a.T @ m @ b @ gain
        gains.append(gain)
    return np.stack(gains[::-1])


def cost_along(model, task, state, actions):
    """Cost of open-loop ``actions`` [H, 1] from ``state`` [2]."""
    s, cost = torch.tensor(state, dtype=torch.float64), 0.0
    with torch.no_grad():
        for action in torch.tensor(actions, dtype=torch.float64):
            following = model(s, action)
            cost -= float(task.reward(s, action, following))
            s = following
    return cost
