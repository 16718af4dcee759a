"""Problems of other libraries' examples: crocoddyl's cartpole and unicycle."""

import torch

from mbrl_ros.planning.ddp import OptimalControlProblem

DT = 0.05
UNICYCLE_DT = 0.1
HORIZON = 50


def cartpole(limit=None):
    """Swing a pole up: states position, angle from upright, and their rates; m_c 1, m_p 0.1, l 0.5, g 9.81."""
    cart, pole, length, gravity = 1.0, 0.1, 0.5, 9.81
    running = 1.0, 1.0, 0.1, 0.001, 0.001, 1.0
    final = 100.0, 100.0, 1.0, 0.1, 0.01, 0.0001

    def dynamics(state, action):
        y, angle, y_rate, angle_rate = state.unbind(-1)
        force = action[..., 0]
        sin, cos = torch.sin(angle), torch.cos(angle)
        mass = cart + pole * sin**2
        y_acceleration = (force + pole * sin * (gravity * cos - length * angle_rate**2)) / mass
        angle_acceleration = (
            force * cos / length + (cart + pole) * gravity * sin / length - pole * cos * sin * angle_rate**2
        ) / mass
        y_rate = y_rate + DT * y_acceleration
        angle_rate = angle_rate + DT * angle_acceleration
        return torch.stack([y + DT * y_rate, angle + DT * angle_rate, y_rate, angle_rate], dim=-1)

    def weighted(weights, state, force):
        y, angle, y_rate, angle_rate = state.unbind(-1)
        residuals = torch.sin(angle), 1 - torch.cos(angle), y, y_rate, angle_rate, force
        return sum((weight * residual) ** 2 for weight, residual in zip(weights, residuals, strict=True)) / 2

    def cost(state, action):
        return weighted(running, state, action[..., 0])

    def terminal_cost(state):
        return weighted(final, state, torch.zeros_like(state[..., 0]))

    bounds = None
    if limit is not None:
        high = torch.tensor([limit], dtype=torch.float64)
        bounds = -high, high
    return OptimalControlProblem.from_functions(
        dynamics, cost, terminal_cost, state_size=4, action_size=1, bounds=bounds
    )


def hanging(count=1, seed=None):
    """[count, 4] the pole at rest below; scattered around it where a seed is given."""
    state = torch.tensor([0.0, torch.pi, 0.0, 0.0], dtype=torch.float64).repeat(count, 1)
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        state += torch.randn(count, 4, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 1.0, 0.5, 0.5])
    return state


def unicycle():
    """Drive to the origin: states x, y, heading; actions speed and turn rate; crocoddyl's weights 10 and 1."""

    def dynamics(state, action):
        x, y, heading = state.unbind(-1)
        speed, turn = action.unbind(-1)
        ahead = UNICYCLE_DT * speed
        moved = x + ahead * torch.cos(heading), y + ahead * torch.sin(heading), heading + UNICYCLE_DT * turn
        return torch.stack(moved, dim=-1)

    def cost(state, action):
        return ((10.0 * state) ** 2).sum(-1) / 2 + (action**2).sum(-1) / 2

    def terminal_cost(state):
        return ((10.0 * state) ** 2).sum(-1) / 2

    return OptimalControlProblem.from_functions(dynamics, cost, terminal_cost, state_size=3, action_size=2)
