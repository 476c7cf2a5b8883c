"""The base of every message: frozen, strict about unknown fields, with one docstring per attribute."""

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """A value that crosses a boundary; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Fact(BaseModel):
    """A value read from a log or a peer that may be newer than we are; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)
