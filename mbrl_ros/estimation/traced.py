"""A torch function on small tensors, run by numpy: the same operations without most of their overhead."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from mbrl_ros.core.errors import ModelError

Operation = tuple[Callable[..., Any], tuple[int, ...], int | tuple[int, ...]]
"""A function, where its arguments lie, and where its result or results go."""


class Traced:
    """``function`` recorded operation by operation, and replayed on arrays.

    For a few hundred operations on arrays of a dozen entries, torch spends its time on dispatching. Operations on
    constants are done once, at construction. Those in the table below become numpy's; any other is handed to torch
    at each call, which is slower and as right.

    Args:
        function: of tensors, to one tensor, its flow of control independent of their values. What it takes from
            elsewhere (a model's parameters) is constant.
        examples: inputs to record with; shapes may change later where the function itself does not look at them.
    """

    def __init__(self, function: Callable[..., torch.Tensor], *examples: torch.Tensor) -> None:
        with torch.no_grad(), _Recorder(examples) as recorder:
            result = function(*examples)
        self._operations = recorder.operations
        self._values = [None] * len(examples) + recorder.values[len(examples) :]
        self._result = recorder.place(result)

    def __len__(self) -> int:
        """Number of operations done at each call."""
        return len(self._operations)

    def __call__(self, *inputs: np.ndarray | float) -> np.ndarray:
        """The function's value as an array."""
        values: list[Any] = [*inputs, *self._values[len(inputs) :]]
        for function, arguments, results in self._operations:
            result = function(*[values[place] for place in arguments])
            if type(results) is int:
                values[results] = result
            else:
                for place, part in zip(results, result, strict=True):
                    values[place] = part
        return values[self._result]


class _Recorder(TorchFunctionMode):
    """Runs every operation as it is, and notes those that depend on the inputs."""

    def __init__(self, inputs: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.values: list[Any] = []
        """Constants at their places; None where a value is computed."""
        self._places: dict[int, int] = {}
        self._alive: list[torch.Tensor] = []  # an id is unique only while its tensor lives
        for tensor in inputs:
            self._reserve(tensor)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        outputs = list(result) if isinstance(result, tuple | list) else [result]
        if self._depends(args) and all(isinstance(output, torch.Tensor) for output in outputs):
            if self._depends(kwargs.values()):
                raise ModelError(f"{func.__name__}: pass tensors that depend on the inputs by position, not by keyword")
            function = NUMPY.get(func.__name__.strip("_")) or _through_torch(func)
            function = partial(function, **kwargs) if kwargs else function
            if any(isinstance(item, tuple | list) for item in args):
                function, args = _regrouped(function, args)
            arguments = tuple(self.place(item) for item in args)
            places = tuple(self._reserve(output) for output in outputs)
            self.operations.append((function, arguments, places if outputs[0] is not result else places[0]))
        return result

    def place(self, item: Any) -> int:
        """Where ``item`` lies; a constant is given a place."""
        if id(item) in self._places:
            return self._places[id(item)]
        self.values.append(item.detach().numpy() if isinstance(item, torch.Tensor) else item)
        return len(self.values) - 1

    def _reserve(self, tensor: torch.Tensor) -> int:
        self._alive.append(tensor)
        self._places[id(tensor)] = len(self.values)
        self.values.append(None)
        return len(self.values) - 1

    def _depends(self, args: Iterable[Any]) -> bool:
        return any(self._depends(item) if isinstance(item, tuple | list) else id(item) in self._places for item in args)


def _regrouped(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The same call with its lists flattened, and a function that puts them together again."""
    sizes = [len(item) if isinstance(item, tuple | list) else -1 for item in arguments]
    flat = tuple(entry for item in arguments for entry in (item if isinstance(item, tuple | list) else [item]))

    def regroup(*values: Any) -> Any:
        rest = iter(values)
        return function(*[next(rest) if size < 0 else [next(rest) for _ in range(size)] for size in sizes])

    return regroup, flat


def _through_torch(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **keywords: Any) -> Any:
        def to_torch(item: Any) -> Any:
            if isinstance(item, list):
                return [to_torch(entry) for entry in item]
            return torch.as_tensor(item) if isinstance(item, np.ndarray | np.generic) else item

        result = function(*[to_torch(item) for item in arguments], **keywords)
        return tuple(part.numpy() for part in result) if isinstance(result, tuple | list) else result.numpy()

    return call


def _clamp(value: Any, min: Any = None, max: Any = None) -> Any:  # noqa: A002, torch's names
    value = value if min is None else np.maximum(value, min)
    return value if max is None else np.minimum(value, max)


NUMPY: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "radd": np.add,
    "sub": np.subtract,
    "rsub": lambda value, other: np.subtract(other, value),
    "mul": np.multiply,
    "rmul": np.multiply,
    "div": np.divide,
    "truediv": np.divide,
    "rdiv": lambda value, other: np.divide(other, value),
    "rtruediv": lambda value, other: np.divide(other, value),
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "atan": np.arctan,
    "exp": np.exp,
    "expm1": np.expm1,
    "rsqrt": lambda value: 1.0 / np.sqrt(value),
    "minimum": np.minimum,
    "maximum": np.maximum,
    "clamp": _clamp,
    "clamp_min": np.maximum,
    "clamp_max": np.minimum,
    "lerp": lambda start, end, share: start + share * (end - start),
    "unbind": lambda value, dim=0: tuple(np.moveaxis(value, dim, 0)),
    "movedim": np.moveaxis,
    "stack": lambda values, dim=0: np.stack(values, axis=dim),
    "broadcast_tensors": lambda *values: tuple(np.broadcast_arrays(*values)),
}
"""Torch functions, by name, as numpy's."""
