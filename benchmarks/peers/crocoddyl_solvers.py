"""Crocoddyl's side of ddp_crocoddyl.py, run by an interpreter that has crocoddyl; JSON in, JSON out."""

from __future__ import annotations

import json
import sys
import time

import crocoddyl
import numpy as np

HORIZON, DT, LIMIT = 50, 0.05, 10.0
CART, POLE, LENGTH, GRAVITY = 1.0, 0.1, 0.5, 9.81
RUNNING = np.array([1.0, 1.0, 0.1, 0.001, 0.001, 1.0])
FINAL = np.array([100.0, 100.0, 1.0, 0.1, 0.01, 0.0001])
MAX_ITERATIONS = 500


def step(x, u):
    """The next state; analytic, so that a complex step differentiates it exactly."""
    y, angle, y_rate, angle_rate = x
    sin, cos = np.sin(angle), np.cos(angle)
    mass = CART + POLE * sin**2
    y_acceleration = (u[0] + POLE * sin * (GRAVITY * cos - LENGTH * angle_rate**2)) / mass
    angle_acceleration = u[0] * cos / LENGTH + (CART + POLE) * GRAVITY * sin / LENGTH - POLE * cos * sin * angle_rate**2
    y_rate, angle_rate = y_rate + DT * y_acceleration, angle_rate + DT * angle_acceleration / mass
    return np.array([y + DT * y_rate, angle + DT * angle_rate, y_rate, angle_rate])


class Cartpole(crocoddyl.ActionModelAbstract):
    def __init__(self, weights):
        super().__init__(crocoddyl.StateVector(4), 1, 6)
        self.squared = weights**2

    def residual(self, x, u):
        return np.array([np.sin(x[1]), 1 - np.cos(x[1]), x[0], x[2], x[3], 0.0 if u is None else u[0]])

    def calc(self, data, x, u=None):
        data.cost = 0.5 * float(self.squared @ self.residual(x, u) ** 2)
        data.xnext[:] = x if u is None else step(x, u)

    def calcDiff(self, data, x, u=None):  # noqa: N802  # crocoddyl's name
        sin, cos, w = np.sin(x[1]), np.cos(x[1]), self.squared
        data.Lx[:] = [w[2] * x[0], w[0] * sin * cos + w[1] * (1 - cos) * sin, w[3] * x[2], w[4] * x[3]]
        curvature = w[0] * (cos**2 - sin**2) + w[1] * ((1 - cos) * cos + sin**2)
        data.Lxx[:, :] = np.diag([w[2], curvature, w[3], w[4]])
        if u is None:
            data.Fx[:, :] = np.eye(4)
            return
        data.Lu[:], data.Luu[:] = w[5] * u, w[5]
        both = np.append(x, u).astype(complex)
        columns = [step(*np.split(both + 1e-30j * e, [4])).imag / 1e-30 for e in np.eye(5)]
        data.Fx[:, :], data.Fu[:] = np.array(columns[:4]).T, columns[4]


def models(name):
    if name == "unicycle":
        model = crocoddyl.ActionModelUnicycle()
        return model, model
    running, final = Cartpole(RUNNING), Cartpole(FINAL)
    if name == "cartpole_limited":
        running.u_lb, running.u_ub = np.array([-LIMIT]), np.array([LIMIT])
    return running, final


def solve(name, solver_name, start):
    running, final = models(name)
    problem = crocoddyl.ShootingProblem(np.array(start), [running] * HORIZON, final)
    solver = getattr(crocoddyl, f"Solver{solver_name}")(problem)
    solver.th_stop = 1e-9
    actions = [np.zeros(running.nu)] * HORIZON
    begun = time.perf_counter()
    solver.solve(problem.rollout(actions), actions, MAX_ITERATIONS)
    spent = time.perf_counter() - begun
    return {"cost": float(solver.cost), "iterations": int(solver.iter) + 1, "ms": spent * 1e3}


def main():
    asked = json.load(sys.stdin)
    # Solvers that know no limits do not solve the limited problem.
    solvers = ("BoxFDDP",) if asked["problem"] == "cartpole_limited" else ("DDP", "FDDP", "BoxFDDP")
    for solver in solvers:
        solve(asked["problem"], solver, asked["starts"][0])  # the first solve of a process takes longer
    answer = {s: [solve(asked["problem"], s, start) for start in asked["starts"]] for s in solvers}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
