"""The OpenAPI 3.1 documents of the services: with problem documents in them, and merged into that of the bank."""

import copy
import json
from collections.abc import Mapping
from typing import Any

from latticebank import __version__
from latticebank.kernel.http.problems import problem_schema
from latticebank.kernel.problem import MEDIA_TYPE

_REFERENCE = "#/components/schemas/"
_FASTAPI_OWN = ("HTTPValidationError", "ValidationError")
_METHODS = frozenset({"get", "put", "post", "delete", "patch", "options", "head", "trace"})


def with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with FastAPI's own error replaced by problem documents as the default answer."""
    document = copy.deepcopy(document)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _FASTAPI_OWN:
        schemas.pop(name, None)
    schemas["Problem"] = problem_schema()
    answer = {
        "description": "A problem document",
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"{_REFERENCE}Problem"}}},
    }
    for path in document.get("paths", {}).values():
        for method, operation in path.items():
            if method in _METHODS:
                responses = operation["responses"]
                if _FASTAPI_OWN[0] in json.dumps(responses.get("422", {})):
                    del responses["422"]
                responses["default"] = answer
    document["components"].setdefault("securitySchemes", {})["bearer"] = {"type": "http", "scheme": "bearer"}
    document["security"] = [{"bearer": []}, {}]
    return document


def merged(documents: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return one document of these, by the name of the service.

    Two schemas of one name that differ are told apart by the name of the service in front.
    """
    result: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Latticebank",
            "version": __version__,
            "description": "A quantum-safe bank. Errors are problem documents (RFC 9457).",
        },
        "paths": {},
        "components": {"schemas": {}, "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
        "security": [{"bearer": []}, {}],
    }
    taken: dict[str, Any] = result["components"]["schemas"]
    for service, document in documents.items():
        schemas = document.get("components", {}).get("schemas", {})
        prefix = service.title().replace("-", "")
        renamed = {name: prefix + name for name in _differing(schemas, taken)}
        document = _renamed(document, renamed)
        for name, schema in document.get("components", {}).get("schemas", {}).items():
            taken[renamed.get(name, name)] = schema
        result["paths"].update(document.get("paths", {}))
    return result


def _differing(schemas: Mapping[str, Any], taken: Mapping[str, Any]) -> set[str]:
    """Return the names that mean something else here than in what is taken, by themselves or by what they refer to."""
    differing = {name for name, schema in schemas.items() if name in taken and taken[name] != schema}
    while True:
        references = {f'"{_REFERENCE}{name}"' for name in differing}
        more = {
            name
            for name, schema in schemas.items()
            if name in taken and name not in differing and any(ref in json.dumps(schema) for ref in references)
        }
        if not more:
            return differing
        differing |= more


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return a copy of a document in which every reference to a renamed schema follows it."""
    if isinstance(value, dict):
        return {key: _renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner, names) for inner in value]
    if isinstance(value, str) and value.startswith(_REFERENCE):
        name = value.removeprefix(_REFERENCE)
        return _REFERENCE + names.get(name, name)
    return value
