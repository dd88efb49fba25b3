"""What is answered where nothing can be: OpenAI's shape of an error."""

import sys

from starlette.requests import Request
from starlette.responses import JSONResponse

from minikin.base.errors import AskError, BusyError, EngineError, TooLongError

_WAIT = "1"  # seconds after which to try again


class Refusal(Exception):
    """A request that is not answered; `param` is the field at fault."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.param, self.code = status, message, kind, param, code

    @property
    def body(self) -> dict[str, object]:
        """As clients of OpenAI read it."""
        told = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": told}

    @property
    def headers(self) -> dict[str, str]:
        """When to come again, if that helps; and how to say who one is."""
        match self.status:
            case 429 | 503:
                return {"Retry-After": _WAIT}
            case 401:
                return {"WWW-Authenticate": "Bearer"}
            case _:
                return {}

    def response(self) -> JSONResponse:
        """The whole answer."""
        return JSONResponse(self.body, self.status, self.headers)


def refused(error: AskError | BusyError | EngineError, prompt: str = "prompt") -> Refusal:
    """What an engine refuses, as the API says it; `prompt` is what the route calls it."""
    match error:
        case TooLongError():
            return Refusal(400, str(error), param=prompt, code="context_length_exceeded")
        case AskError(field=field):
            return Refusal(400, str(error), param=prompt if field == "prompt" else field)
        case BusyError():
            return Refusal(429, str(error), kind="rate_limit_error", code="queue_full")
        case _:
            return unavailable(str(error))


def unavailable(problem: str) -> Refusal:
    """An engine is out of order: why is for whoever runs the server, and may tell of the machine."""
    sys.stderr.write(f"{problem}\n")
    said = "this model cannot answer now; ask again later"
    return Refusal(503, said, kind="server_error", code="engine_unavailable")


async def answer_fault(request: Request, _: Exception) -> JSONResponse:
    """For Starlette: a fault of ours, which it reports itself."""
    said = f"{request.method} {request.url.path[:200]}: the server has failed"
    return Refusal(500, said, kind="server_error").response()


async def answer_refusal(_: Request, error: Exception) -> JSONResponse:
    """For Starlette: a refusal from wherever it was raised."""
    assert isinstance(error, Refusal)
    return error.response()
