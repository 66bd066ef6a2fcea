"""The OpenAPI schema's refusals: what each call answers besides what it is for.

A hook of drf-spectacular: name `document_refusals` in `SPECTACULAR_SETTINGS["POSTPROCESSING_HOOKS"]`.
"""

from __future__ import annotations

from typing import Any

METHODS = {"get", "post", "put", "patch", "delete"}
DETAIL = {
    "type": "object",
    "description": "`detail` says what is wrong; or each wrong field is there with a list of reasons.",
    "additionalProperties": True,
}
REASONS = {
    "400": "a field or parameter is wrong",
    "401": "not logged in",
    "403": "not allowed",
    "404": "not there, or not for you",
    "413": "the body is too large",
    "415": "the body is of a type that is not taken",
    "429": "too often; `Retry-After` says how many seconds to wait",
    "503": "the database is away; `Retry-After` says how many seconds to wait",
}


def document_refusals(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Adds the statuses that a call may answer when it refuses, with one schema for all of them."""
    result.setdefault("components", {}).setdefault("schemas", {})["Refusal"] = DETAIL
    for path, item in result["paths"].items():
        for method in METHODS & item.keys():
            operation = item[method]
            for status in _refusals(path, operation):
                operation["responses"].setdefault(status, _response(status))
    return result


def _refusals(path: str, operation: dict[str, Any]) -> list[str]:
    statuses = ["400", "401", "403", "429", "503"]
    if "{" in path:
        statuses.append("404")
    if "requestBody" in operation:
        statuses += ["413", "415"]
    return statuses


def _response(status: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Refusal"}
    return {"description": REASONS[status], "content": {"application/json": {"schema": schema}}}
