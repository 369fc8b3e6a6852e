"""From what came over the wire to decoded parameters. Nothing is verified against the raw text."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from worker.sandbox.refusals import GatewayError

_FORM = "application/x-www-form-urlencoded"
_MOST_PARAMETERS = 200


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A request as received: `target` is the path and query undecoded, header names are lower-case."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """The first value of a header, trimmed; "" where there is none."""
        return next((value.strip() for received, value in self.headers if received == name), "")


@dataclass(frozen=True, slots=True)
class DecodedRequest:
    """A request with its parameters decoded: `+` and `%20` are both a space, blank values are kept.

    `query` is what V3 signs; `pairs` adds those of a form, which V1 signs too.
    """

    wire: WireRequest
    path: str
    query: tuple[tuple[str, str], ...]
    pairs: tuple[tuple[str, str], ...]
    parameters: Mapping[str, str]


def decode(wire: WireRequest) -> DecodedRequest:
    """Take a request apart.

    Raises:
        GatewayError: A parameter is not UTF-8, or there are too many.
    """
    path, _, query = wire.target.partition("?")
    is_form = wire.method == "POST" and wire.header("content-type").lower().startswith(_FORM)
    try:
        in_query = _decode_pairs(query)
        in_form = _decode_pairs(wire.body.decode()) if is_form else ()
    except ValueError as fault:
        raise GatewayError(400, "InvalidParameter", "The parameters are not UTF-8 or are too many.") from fault
    pairs = in_query + in_form
    return DecodedRequest(wire, path, in_query, pairs, dict(pairs))


def _decode_pairs(text: str) -> tuple[tuple[str, str], ...]:
    pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    for name, value in pairs:
        # Raw bytes outside UTF-8 arrive as lone surrogates, which strict decoding of %XX does not see.
        (name + value).encode()
    return tuple(pairs)


def wants_xml(wire: WireRequest, parameters: Mapping[str, str]) -> bool:
    """Whether to answer in XML: the `Format` parameter decides, then the accept header, then JSON.

    The provider's pages disagree on the default of `Format`; the product's own page says JSON.

    Raises:
        GatewayError: `Format` is neither JSON nor XML.
    """
    wanted = parameters.get("Format", "").upper()
    if wanted not in {"", "JSON", "XML"}:
        raise GatewayError(400, "InvalidParameter.Format", "The parameter Format must be JSON or XML.")
    return wanted == "XML" or (not wanted and "xml" in wire.header("accept").lower())
