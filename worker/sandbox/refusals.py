"""The two ways the provider says no."""

from collections.abc import Mapping


class RefusalError(Exception):
    """A request that gets no OK. `code` is for programs and `message` for people, as in the provider's error tables."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


class GatewayError(RefusalError):
    """The gateway in front of the product refuses: a status other than 200 and a five-field body."""


class BusinessError(RefusalError):
    """The product itself refuses: HTTP 200 and a Code other than OK."""

    def __init__(self, code: str, message: str = "", headers: Mapping[str, str] | None = None) -> None:
        # A logged real conflict carried its code as its message too.
        super().__init__(200, code, message or code, headers)


def missing(parameter: str) -> GatewayError:
    """`Missing{Parameter}`, the gateway's code for a mandatory parameter that is absent or blank."""
    return GatewayError(400, f"Missing{parameter}", f"{parameter} is mandatory for this action.")
