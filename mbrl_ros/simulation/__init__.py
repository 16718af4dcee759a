"""The plant: a published car model, its actuators and its sensors, on simulated time."""
