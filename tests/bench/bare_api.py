"""The least that an endpoint of the web framework can do: read a small body, check it, answer it."""

from fastapi import FastAPI
from pydantic import BaseModel, JsonValue

app = FastAPI()


class Wish(BaseModel):
    """As small as a job."""

    kind: str
    payload: dict[str, JsonValue]


@app.post("/echo")
async def echo(wish: Wish) -> Wish:
    """Answer what was asked."""
    return wish
