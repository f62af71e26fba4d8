"""Arithmetic over names: parsed into a tree of known kinds, never evaluated as code."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from tunewright.core.errors import ConfigError

_MOST_CHARACTERS = 1000
_MOST_NODES = 200
_MOST_EXPONENT = 64.0
_LARGEST = 1e100

_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_UNARY: dict[type[ast.unaryop], Callable[[float], float]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_FUNCTIONS: dict[str, tuple[Callable[..., float], int]] = {
    "min": (min, 0),
    "max": (max, 0),
    "abs": (abs, 1),
    "floor": (math.floor, 1),
    "ceil": (math.ceil, 1),
    "exp": (math.exp, 1),
    "sqrt": (math.sqrt, 1),
    "log": (math.log, 1),
}
"""Name → function and how many numbers it takes; 0 is one or more."""

_ALLOWED = f"numbers, names, + - * / ** ( ) and {', '.join(_FUNCTIONS)}"


@dataclass(frozen=True)
class Formula:
    """A formula that has been read and found harmless."""

    text: str
    tree: ast.expr

    def __call__(self, values: Mapping[str, float]) -> float:
        """Its value.

        Raises:
            ArithmeticError: a division by zero, or a number too large.
            ValueError: a root or logarithm of what has none.
        """
        result = _value(self.tree, values)
        if not abs(result) <= _LARGEST:
            raise OverflowError("the formula's value is too large")
        return result


def formula(text: str, names: Collection[str]) -> Formula:
    """Read a formula.

    Args:
        text: the formula.
        names: that it may hold.

    Raises:
        ConfigError: it is no arithmetic, too long, or holds another name.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ConfigError(f"the formula is longer than {_MOST_CHARACTERS} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ConfigError(f"{text!r} is no formula", f"Allowed: {_ALLOWED}.") from None
    nodes = list(ast.walk(tree))
    if len(nodes) > _MOST_NODES:
        raise ConfigError(f"the formula has more than {_MOST_NODES} parts")
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        if id(node) not in called:
            _check(node, names)
    return Formula(text, tree)


def _check(node: ast.AST, names: Collection[str]) -> None:
    if isinstance(node, ast.Name) and node.id not in names:
        known = ", ".join(sorted(names))
        raise ConfigError(f"the formula holds {node.id!r}, which is no grader", f"Known: {known}")
    if isinstance(node, ast.Call):
        _check_call(node)
    elif not (_number(node) or isinstance(node, _PARTS)):
        raise ConfigError(f"the formula holds {type(node).__name__}", f"Allowed: {_ALLOWED}.")


_PARTS = (ast.BinOp, ast.UnaryOp, ast.Name, ast.Load, ast.Pow, *_BINARY, *_UNARY)


def _number(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=bool()):
            return False
        case ast.Constant(value=int() | float() as number):
            return abs(number) <= _LARGEST
    return False


def _check_call(node: ast.Call) -> None:
    name = node.func.id if isinstance(node.func, ast.Name) else "?"
    takes = _FUNCTIONS.get(name, (None, -1))[1]
    good = len(node.args) == takes if takes else bool(node.args)
    if not good or node.keywords:
        raise ConfigError(f"the formula calls {ast.unparse(node)}", f"Allowed: {_ALLOWED}.")


def _value(node: ast.expr, values: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name):
            return values[name]
        case ast.UnaryOp(op=op, operand=inner):
            return _UNARY[type(op)](_value(inner, values))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left, values), _value(right, values))
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_value(left, values), _value(right, values))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            numbers = [_value(one, values) for one in arguments]
            return float(_FUNCTIONS[name][0](*numbers))
    raise TypeError(f"{type(node).__name__} was let through")


def _power(base: float, exponent: float) -> float:
    if abs(exponent) > _MOST_EXPONENT:
        raise OverflowError(f"an exponent is larger than {_MOST_EXPONENT:g}")
    return math.pow(base, exponent)
