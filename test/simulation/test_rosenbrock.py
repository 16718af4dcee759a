import numpy as np

from mbrl_ros.simulation.rosenbrock import rosenbrock_step, stiff_jacobian


def integrate(derivative, state, duration_s, steps, stiff, jacobian=None):
    for _ in range(steps):
        matrix = stiff_jacobian(derivative, state, stiff) if jacobian is None else jacobian
        state = rosenbrock_step(derivative, state, duration_s / steps, stiff, matrix)
    return np.array(state)


def pendulum(state):
    return [state[1], -9.81 * np.sin(state[0]) - 0.3 * state[1]]


def test_second_order_whatever_stands_in_the_place_of_the_jacobian():
    fine = integrate(pendulum, [1.0, 0.0], 1.0, 4000, [0, 1])
    for jacobian in (None, np.zeros((2, 2)), np.array([[0.0, 1.0], [-3.0, -1.0]])):
        errors = [
            np.abs(integrate(pendulum, [1.0, 0.0], 1.0, steps, [0, 1], jacobian) - fine).max() for steps in (50, 100)
        ]
        assert 3.4 < errors[0] / errors[1] < 4.6


def test_a_fast_mode_is_damped_at_steps_far_beyond_its_time_constant():
    def wheel(state):  # settles within 0.1 ms on a speed that changes slowly
        return [2.0, 1e4 * (state[0] - state[1])]

    speed, wheel_speed = integrate(wheel, [0.0, 5.0], 1.0, 200, [0, 1])
    assert abs(speed - 2.0) < 1e-9
    assert abs(wheel_speed - (speed - 2.0 / 1e4)) < 1e-6


def test_explicit_euler_would_explode_there():
    state = np.array([0.0, 5.0])
    for _ in range(20):
        state = state + 0.005 * np.array([2.0, 1e4 * (state[0] - state[1])])
    assert not abs(state[1]) < 1e6
