"""Turn the result of a query into an answer: JSON and CSV from its fields, and blocks for people.

How the results of `queries.top` are shown is registered in `report.top`, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import singledispatch
from importlib import import_module
from typing import TYPE_CHECKING, Any

from spotify_logger.report.blocks import Answer, Block

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spotify_logger.queries.question import Question
    from spotify_logger.report.csv_output import CsvRow


@singledispatch
def blocks(result: object, question: Question) -> Sequence[Block]:
    """Return what people see of the result of a query."""
    raise NotImplementedError(type(result))


@singledispatch
def csv_rows(result: object) -> Sequence[CsvRow]:  # noqa: ARG001 - the default for what has no rows
    """Return the result of a query as CSV rows."""
    return ()


@singledispatch
def to_json(value: object) -> Any:  # noqa: ANN401 - what JSON can hold
    """Return the result of a query, or a part of it, for JSON; `from_` becomes "from", a keyword."""
    if not is_dataclass(value):
        return value
    return {each.name.removesuffix("_"): to_json(getattr(value, each.name)) for each in fields(value)}


@to_json.register(Mapping)
def _(values: Mapping[str, object]) -> dict[str, Any]:
    return {name: to_json(value) for name, value in values.items()}


@to_json.register(list)
@to_json.register(tuple)
def _(values: Iterable[object]) -> list[Any]:
    return [to_json(value) for value in values]


def to_answer(result: object, question: Question) -> Answer:
    """Return the answer for the command; one that is an answer already stays as it is."""
    if isinstance(result, Answer):
        return result
    import_module(type(result).__module__.replace(".queries.", ".report."))
    code = getattr(result, "exit_code", 0)
    return Answer(to_json(result), blocks(result, question), code, csv_rows(result))
