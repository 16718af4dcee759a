"""MPPI updates in fused kernels: the one second copy of the equations, held equal to the torch ones by tests."""
