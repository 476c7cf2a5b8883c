"""Asking a process whether it is ready, over its loopback probe."""

import http.client

from jobplane.local import ports

_ANSWER_S = 1.0
_OK = 200


def not_ready(port: int) -> str | None:
    """None if `/readyz` answers 200, otherwise what it said."""
    connection = http.client.HTTPConnection(ports.LOOPBACK, port, timeout=_ANSWER_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read(400).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return f"no answer yet ({type(error).__name__})"
    finally:
        connection.close()
    return None if answer.status == _OK else body or f"status {answer.status}"
