"""The description of the API (OpenAPI 3.1), made of its endpoints and the types of their answers."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from starlette.routing import Route

from spotify_logger.core.day_sums import Sums
from spotify_logger.queries.question import PARAMETERS, PLAYS, TIME
from spotify_logger.queries.timeline import Timeline
from spotify_logger.web.api import ENDPOINTS
from spotify_logger.web.request_params import MAX_LINES, MAX_SEARCH_LENGTH
from spotify_logger.web.templating import API_PATH, JSON, PROBLEM_JSON, cacheable

Schema = dict[str, Any]

TYPES = [{"type": name} for name in ("string", "integer", "number", "boolean", "null")]
SIMPLE: Mapping[Any, Schema] = {
    **dict(zip((str, int, float, bool, type(None)), TYPES, strict=True)),
    Any: {},
    Timeline: {"type": "array", "items": {"type": "object"}},  # plays and gaps
}
SUMS_UNIT = ("unit", "when")  # in JSON, the former is the name of the latter
TEXT = {"type": "string", "minLength": 1}
VALUES: Mapping[str, Schema] = {
    "by": {"enum": [PLAYS, TIME]},
    "exact": {"type": "boolean"},
    "n": {"type": "integer", "minimum": 1, "maximum": MAX_LINES},
    "q": {**TEXT, "maxLength": MAX_SEARCH_LENGTH},
}


@cache
def description() -> str:
    """Return the description as JSON."""
    problem = {"title": SIMPLE[str], "status": SIMPLE[int], "detail": SIMPLE[str]}
    schemas = {"Problem": _object(problem, "An error (RFC 9457).")}
    paths = {f"{API_PATH}/{path}": {"get": _operation(path, schemas)} for path in ENDPOINTS}
    token = {"type": "http", "scheme": "bearer"}
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "Spotify Logger", "version": "1"},
        "security": [{"token": []}, {}],  # no token is needed on the machine itself
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": token}},
    }
    return json.dumps(whole)


def _operation(path: str, schemas: dict[str, Schema]) -> Schema:
    endpoint = ENDPOINTS[path]
    query = endpoint.load()
    answer = _of(get_type_hints(query)["return"], schemas)
    problem = {"$ref": "#/components/schemas/Problem"}
    parameters = [_parameter(name, "path") for name in re.findall(r"{(\w+)}", path)]
    return {
        "summary": str(query.__doc__).partition("\n")[0],
        "parameters": parameters + [_parameter(name, "query") for name in (*endpoint.parameters, "listener")],
        "responses": {
            "200": {"description": "The answer", "content": {"application/json": {"schema": answer}}},
            "304": {"description": "Not modified"},
            "default": {"description": "An error", "content": {PROBLEM_JSON: {"schema": problem}}},
        },
    }


def _parameter(name: str, place: str) -> Schema:
    what = f"such as {PARAMETERS[name].example}" if name in PARAMETERS else ""
    what = "its ID, name, key or URI, such as `text` or `uri` of a row" if place == "path" else what
    is_needed = place == "path" or name == "q"
    return {
        "name": name,
        "in": place,
        "required": is_needed,
        "description": what,
        "schema": VALUES.get(name, TEXT),
    }


def _of(kind: Any, schemas: dict[str, Schema]) -> Schema:  # noqa: ANN401 - any type
    """Return the schema of what `to_json` makes of a type, and add those that it refers to."""
    if kind in SIMPLE:
        return SIMPLE[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return {"anyOf": [_of(each, schemas) for each in arguments]}
    if origin is Sequence:
        return {"type": "array", "items": _of(arguments[0], schemas)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _of(arguments[1], schemas)}
    if kind.__name__ not in schemas:
        types = get_type_hints(kind)
        names = [each.name for each in fields(kind) if kind is not Sums or each.name not in SUMS_UNIT]
        properties = {name.removesuffix("_"): _of(types[name], schemas) for name in names}
        schemas[kind.__name__] = _object(properties, str(kind.__doc__).partition("\n")[0])
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _object(properties: Schema, what: str) -> Schema:
    return {"description": what, "type": "object", "required": list(properties), "properties": properties}


ROUTE = Route(f"{API_PATH}/openapi.json", lambda request: cacheable(request, description(), JSON))
