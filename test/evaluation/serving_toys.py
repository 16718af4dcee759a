"""A simulated car driven by script, and models of it, for tests of what is known while driving."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from mbrl_ros.bringup.graph import config_file
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.layout import VX
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.evaluation.driven import Driven
from mbrl_ros.models import passport
from mbrl_ros.models.learned import Base, Config, Guard, LearnedModel, Network, build_base
from mbrl_ros.models.parametric import build, build_for
from mbrl_ros.models.passport import HorizonIntervals, Provenance, Score, Uncertainty
from mbrl_ros.simulation.simulator import Simulator

VEHICLE = read_settings(config_file("vehicles", "f1tenth", ".yaml"), Vehicle)
PERIOD_S = 0.02
UNFIT = ("speed", "rear_axle", "other_car", "truncated", "not_finite", "units", "layout")


class ScriptedDrive:
    """The simulated car on a wavy line at a given speed, watched as the dynamics server watches."""

    period_s = PERIOD_S

    def __init__(self, keep_s: float = 30.0) -> None:
        self.driven = Driven(keep_s)
        self.simulator = Simulator(VEHICLE)
        self.sent = np.zeros(3)
        """The last command: steering angle, acceleration, speed."""
        self._count = 0

    def drive(self, seconds: float, speed: float, steering: float = 0.15) -> Driven:
        """Drive on; ``steering`` [rad] is the amplitude of a sine of 4 s."""
        for _ in range(round(seconds / PERIOD_S)):
            now_s, truth = self.simulator.now_s, self.simulator.truth()
            if self._count % 3 == 0:
                self.driven.observe(now_s, truth)
            wheel = steering * np.sin(2 * np.pi * now_s / 4.0)
            acceleration = float(np.clip(3.0 * (speed - truth[VX]), -4.0, 4.0))
            self.simulator.command(now_s, wheel, acceleration=acceleration)
            self.sent = np.array([wheel, acceleration, speed])
            self.driven.command(now_s, self.sent)
            self._count += 1
            self.simulator.advance(self._count * PERIOD_S)
        return self.driven


def save(folder, kind="single_track", error_m=None, **parameters) -> str:
    """A parametric model of the simulated car in ``folder``, with a held-out error [m] after 1 s; returns its id."""
    scores = () if error_m is None else (Score(bag="made", horizon_s=1.0, ade_m=error_m / 2, fde_m=error_m, starts=9),)
    model = build_for(VEHICLE, kind, dt=PERIOD_S)
    return passport.save(model.with_parameters(parameters), folder, Provenance(scores=scores))


def learned(folder, *, members=3, novelty=2.0, base_m=(0.1, 0.05), trained=True, seed=0) -> passport.LoadedModel:
    """A semi-parametric model with memory, saved in ``folder``; its members disagree when ``trained``."""
    torch.manual_seed(seed)
    physics = build_for(VEHICLE, "single_track", dt=PERIOD_S)
    config = Config(
        dt=PERIOD_S,
        reference_point="cg",
        base=Base("single_track", "acceleration"),
        network=Network("gru", members=members, hidden=4, history_s=0.4),
        guard=Guard(residual=(3.0, 3.0, 5.0), longitudinal=12.0, lateral=12.0, sideslip=1.0),
    )
    mean, std = torch.zeros(13).double(), torch.tensor([2.0, 0.3, 1.0, 0.1, 2.0, 0.1, 2.0, *[1.0] * 6]).double()
    model = LearnedModel(build_base(config, physics.values()), config, mean, std).double()
    if trained:
        torch.nn.init.normal_(model.head.layers[-1].weight)
    horizons = tuple(
        HorizonIntervals(
            horizon_s=h, base_m=(h * base_m[0], h * base_m[1]), along=(0.5, 1.5, 2.0), across=(0.6, 1.8, 2.5)
        )
        for h in (0.5, 1.0)
    )
    stated = Uncertainty(levels=(0.5, 0.9, 0.95), horizons=horizons, novelty=novelty)
    passport.save(model, folder, Provenance(uncertainty=stated))
    return passport.load(folder)


def unfit(kind, parent):
    """A folder in ``parent`` with a model that must be refused, and words of the reason."""
    folder = parent / kind
    if kind == "speed":
        passport.save(build("kinematic_bicycle", {"wheelbase": 0.33}, dt=0.02, drive="speed"), folder)
        return folder, "planners command acceleration"
    if kind == "rear_axle":
        model = build("kinematic_bicycle", {"wheelbase": 0.33}, dt=0.02, reference_point="rear_axle")
        passport.save(model, folder)
        return folder, "describes the rear_axle"
    if kind == "other_car":
        save(folder, "single_track", wheelbase=2.5)
        return folder, "of a car with a wheelbase of 2.50 m"
    save(folder, "kinematic_bicycle")
    text, weights = passport.read(folder)
    if kind == "truncated":
        (folder / passport.WEIGHTS_FILE).write_bytes(weights[:-9])
        return folder, "damaged"
    if kind == "not_finite":
        spoilt = weights[:-8] + np.float64(np.nan).tobytes()
        (folder / passport.WEIGHTS_FILE).write_bytes(spoilt)
        digests = [hashlib.sha256(content).hexdigest() for content in (weights, spoilt)]
        (folder / passport.PASSPORT_FILE).write_text(text.replace(*digests))
        return folder, "not finite"
    if kind == "units":
        (folder / passport.PASSPORT_FILE).write_text(text.replace("unit: m/s\n", "unit: km/h\n"))
        return folder, "km/h"
    (folder / passport.PASSPORT_FILE).write_text(text.replace("name: yaw_rate", "name: turn_rate"))
    return folder, "turn_rate"
