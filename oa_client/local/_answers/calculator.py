"""Find arithmetic in a text, and work it out."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator
from fractions import Fraction

#: of one expression
MOST_CHARACTERS = 200
#: characters that are searched for arithmetic
MOST_TEXT = 10_000
#: of a number; a float holds 1023
MOST_BITS = 1000

SIGNS = str.maketrans({"×": "*", "÷": "/", "−": "-", "^": "**"})  # noqa: RUF001 - as people write them
PASSAGE = re.compile(r"[0-9.()+\-*/%^×÷− \t]+")  # noqa: RUF001

OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


def find_expressions(text: str) -> Iterator[str]:
    """
    Yield the pieces of arithmetic in a text, unchanged: at least two numbers with a sign between.

    Only the first `MOST_TEXT` characters are searched.
    """
    for passage in PASSAGE.findall(text[:MOST_TEXT]):
        # A bracket too many belongs to the sentence around.
        for expression in (passage.strip(" \t."), passage.strip(" \t.()")):
            if isinstance(_parse(expression), ast.BinOp):
                yield expression
                break


def evaluate(expression: str) -> str:
    """
    Work out an expression of numbers, `+ - * / % ^` and brackets, to at most twelve digits.

    Raises:
        ValueError: if it is something else, or longer than `MOST_CHARACTERS`.
        ArithmeticError: if it divides by zero, has a power that is not whole, or is too large.
    """
    if PASSAGE.fullmatch(expression) is None or (node := _parse(expression)) is None:
        raise ValueError("this is not arithmetic")
    value = _value(node)
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.12g}"


def _parse(expression: str) -> ast.expr | None:
    if len(expression) > MOST_CHARACTERS:
        return None
    try:
        node = ast.parse(expression.strip().translate(SIGNS), mode="eval").body
    except SyntaxError:
        return None
    return node if _is_arithmetic(node) else None


def _is_arithmetic(node: ast.expr) -> bool:
    match node:
        case ast.BinOp(left=left, op=op, right=right):
            return type(op) in OPERATORS and _is_arithmetic(left) and _is_arithmetic(right)
        case ast.UnaryOp(operand=operand):
            return _is_arithmetic(operand)
    # Three dots are a constant in Python too.
    return isinstance(node, ast.Constant) and isinstance(node.value, (int, float))


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.BinOp(left=left, op=op, right=right):
            value = _operate(op, _value(left), _value(right))
        case ast.UnaryOp(op=op, operand=operand):
            value = -_value(operand) if isinstance(op, ast.USub) else _value(operand)
        case _:
            value = Fraction(str(ast.literal_eval(node)))
    if _bits(value) > MOST_BITS:
        raise OverflowError("too large a number")
    return value


def _operate(op: ast.operator, left: Fraction, right: Fraction) -> Fraction:
    if isinstance(op, ast.Pow):
        if right.denominator != 1:
            raise ArithmeticError("a power that is not whole")
        if abs(right.numerator) * _bits(left) > MOST_BITS:
            raise OverflowError("too large a number")
    try:
        return Fraction(OPERATORS[type(op)](left, right))
    except ZeroDivisionError:  # Python's own message speaks of fractions
        raise ZeroDivisionError("division by zero") from None


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())
