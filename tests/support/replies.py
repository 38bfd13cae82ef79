"""Replies as the API describes them, for tests of what reads them."""

from typing import Any, TypeVar

from gateway.examples import of_schema
from gateway.openapi import document
from gateway.routes import ROUTES
from prop.values import Reply

Model = TypeVar("Model", bound=Reply)

SCHEMAS = document(ROUTES, version="")["components"]["schemas"]


def described(component: str, **fields: Any) -> Any:
    """The example of a component on the wire, with some fields as given."""
    return {**of_schema({"$ref": f"#/components/schemas/{component}"}, SCHEMAS), **fields}


def example(model: type[Model], component: str, **fields: Any) -> Model:
    """The same as the client has it."""
    return model.model_validate(described(component, **fields))
