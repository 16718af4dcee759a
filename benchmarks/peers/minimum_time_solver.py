"""CasADi's and IPOPT's side of minimum_time.py, run by an interpreter that has casadi; JSON in, JSON out.

Direct collocation (Radau, degree 3) of a periodic lap over the arc length of the centre line. States: lateral offset
[m], heading error [rad], vx, vy [m/s], yaw rate [rad/s], road wheel angle [rad], drive acceleration [m/s^2]. Controls,
held over an interval: rate of the road wheel angle [rad/s] and jerk [m/s^3].
"""

from __future__ import annotations

import json
import sys

import casadi as ca
import numpy as np

DEGREE = 3
SMOOTHING = 1e-4  # on the squares of the controls, as shares of their limits; in seconds per lap
SLOWEST_MPS = 0.5
PEDALS_MPS2 = 0.1  # within so much of no acceleration engine and brakes are rounded off into one another
LIFTED = 0.02  # share of its load at rest that a wheel keeps at least


def dynamics(p, wheels):
    """(state, control, curvature) -> (slopes over arc length, seconds per metre, eight numbers that are at most 1)."""
    state, control, curvature = ca.SX.sym("state", 7), ca.SX.sym("control", 2), ca.SX.sym("curvature")
    lateral, error, vx, vy, yaw_rate, steering, acceleration = ca.vertsplit(state)
    l_r = p["rear_fraction"] * p["wheelbase"]
    l_f = p["wheelbase"] - l_r
    at_rest = {"front": 9.81 * p["rear_fraction"], "rear": 9.81 * (1 - p["rear_fraction"])}
    transfer = p.get("cg_height_ratio", 0.0) * acceleration
    loads = {"front": at_rest["front"] - transfer, "rear": at_rest["rear"] + transfer}
    slips = {
        "front": steering - ca.atan((vy + l_f * yaw_rate) / vx),
        "rear": ca.atan((l_r * yaw_rate - vy) / vx),
    }
    pushed = (acceleration + ca.sqrt(acceleration**2 + PEDALS_MPS2**2)) / 2
    braked = acceleration - pushed
    front = wheels["drive_front"] * pushed + wheels["brake_front"] * braked
    along = {"front": front, "rear": acceleration - front}
    force, used = {}, []
    for axle, slip in slips.items():
        friction, shape = p[f"friction_{axle}"], p[f"shape_{axle}"]
        stretch = p[f"stiffness_{axle}"] / (shape * friction) * slip
        e = p.get(f"curvature_{axle}", 0.0)
        share = ca.sin(shape * ca.atan(stretch - e * (stretch - ca.atan(stretch))))
        force[axle] = friction * loads[axle] * share
        leaning = 2 * wheels[f"transfer_{axle}"] * vx * yaw_rate / at_rest[axle]
        for side in (-1, 1):
            load = loads[axle] / at_rest[axle] + side * leaning
            used.append(1 + (along[axle] / (friction * at_rest[axle])) ** 2 - (1 - share**2) * load**2)
            used.append(1 + LIFTED - load)
    drag = p.get("rolling_resistance", 0.0) + p.get("drag", 0.0) * vx**2
    across = force["front"] * ca.cos(steering)
    cornering = p["cornering_drag"] * (vy * yaw_rate - force["front"] * ca.sin(steering))
    seconds = (1 - lateral * curvature) / (vx * ca.cos(error) - vy * ca.sin(error))
    rates = ca.vertcat(
        vx * ca.sin(error) + vy * ca.cos(error),
        yaw_rate - curvature / seconds,
        acceleration - drag + cornering,
        across + force["rear"] - vx * yaw_rate,
        (l_f * across - l_r * force["rear"]) / (p["yaw_inertia_ratio"] * l_f * l_r),
        control[0],
        control[1],
    )
    return ca.Function("car", [state, control, curvature], [rates * seconds, seconds, ca.vertcat(*used)])


def scales(limits):
    """Sizes of the seven states, for the conditioning and as bounds."""
    return np.array(
        [1.0, 0.5, limits["speed_mps"], 1.0, 3.0, limits["steering_angle_rad"], limits["acceleration_mps2"]]
    )


def bounds_and_guess(asked):
    """[N, DEGREE, 7] lowest, highest and first guess of the scaled states."""
    limits, p = asked["limits"], asked["parameters"]
    curvature, speed = np.array(asked["curvature"]), np.array(asked["speed_mps"])
    top = scales(limits)
    low, high, guess = np.full((3, *curvature.shape, 7), 0.0)
    low[...] = [0.0, -1.4, SLOWEST_MPS, -np.inf, -np.inf, -top[5], -limits["braking_mps2"]]
    high[...] = [0.0, 1.4, top[2], np.inf, np.inf, top[5], top[6]]
    low[..., 0], high[..., 0] = asked["lowest_m"], asked["highest_m"]
    guess[..., 2], guess[..., 4] = speed, speed * curvature
    guess[..., 5] = np.clip(np.arctan(p["wheelbase"] * curvature), -top[5], top[5])
    return low / top, high / top, guess / top


def problem_of(asked):
    """The program in the scaled states [7, DEGREE N] and controls [2, N], its lap time, and the states in SI."""
    limits, intervals = asked["limits"], asked["intervals"]
    slopes, _, weights = ca.collocation_coeff(ca.collocation_points(DEGREE, "radau"))
    step, curvature = asked["length_m"] / intervals, np.array(asked["curvature"])
    car, top = dynamics(asked["parameters"], asked["wheels"]), scales(limits)
    reach = np.array([limits["steering_rate_radps"], limits["jerk_mps3"]])
    scaled, controls = ca.MX.sym("x", 7, DEGREE * intervals), ca.MX.sym("u", 2, intervals)
    states = ca.mtimes(ca.diag(top), scaled)
    equal, unequal, seconds = [], [], 0
    for index in range(intervals):
        own = states[:, DEGREE * index : DEGREE * (index + 1)]
        before = DEGREE * (index if index else intervals) - 1  # the lap is periodic
        known = ca.horzcat(states[:, before], own)
        for k in range(DEGREE):
            slope, pace, used = car(own[:, k], controls[:, index] * reach, curvature[index, k])
            equal.append((ca.mtimes(known, slopes[:, k]) - step * slope) / top)
            unequal.append(used)
            seconds += step * weights[k] * pace
    program = {
        "x": ca.vertcat(ca.vec(scaled), ca.vec(controls)),
        "f": seconds + SMOOTHING * ca.sumsqr(controls) / intervals,
        "g": ca.vertcat(*equal, *unequal),
    }
    return program, seconds, states


def solve(asked):
    program, seconds, states = problem_of(asked)
    intervals = asked["intervals"]
    low, high, guess = (part.ravel() for part in bounds_and_guess(asked))
    controls = np.ones(2 * intervals)
    equals, grips = 7 * DEGREE * intervals, 8 * DEGREE * intervals
    options = {
        "ipopt": {"max_iter": 2000, "tol": 1e-6, "print_level": 0, "mu_strategy": "adaptive", "linear_solver": "mumps"},
        "print_time": False,
    }
    solver = ca.nlpsol("lap", "ipopt", program, options)
    found = solver(
        x0=np.concatenate([guess, 0.0 * controls]),
        lbx=np.concatenate([low, -controls]),
        ubx=np.concatenate([high, controls]),
        lbg=np.concatenate([np.zeros(equals), np.full(grips, -np.inf)]),
        ubg=np.concatenate([np.zeros(equals), np.ones(grips)]),
    )
    lap_s, every = ca.Function("values", [program["x"]], [seconds, states])(found["x"])
    stats = solver.stats()
    return {
        "solved": bool(stats["success"]),
        "status": stats["return_status"],
        "iterations": stats["iter_count"],
        "lap_s": float(lap_s),
        "states": np.array(every).T[DEGREE - 1 :: DEGREE].tolist(),  # at the intervals' ends
        "casadi": ca.__version__,
    }


def main():
    asked = json.load(sys.stdin)
    if asked == "taus":
        json.dump(ca.collocation_points(DEGREE, "radau"), sys.stdout)
        return
    json.dump(solve(asked), sys.stdout)


if __name__ == "__main__":
    main()
