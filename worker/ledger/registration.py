"""A bound job is its binding's record: what settling it writes into the indexes by which bindings are found."""

import hashlib
import json
from collections.abc import Iterable, Mapping

from worker.domain.binding import Binding, BindingName, NameKind, names_of
from worker.domain.expiration import parse_expiration, unix_ms
from worker.ledger.closed_orders import order_digest
from worker.ledger.job_views import is_bound_state
from worker.ledger.records import Claim, Settlement
from worker.ledger.seal import NO_SEAL, Seal

DIGEST_LENGTH = 14
"""56 bits: should two names ever share one, they share an entry, and who reads the bindings in it sees their names."""
NOT_BOUND = (0, "")


def registration_of(claim: Claim, settlement: Settlement, seal: Seal = NO_SEAL) -> tuple[int, str]:
    """What settle.lua is told of a binding: its Expiration in Unix ms, and the digests of its names run together.

    Whoever makes a binding by a job that was not filed as a bind settles it with the field `request`: the parameters
    of BindAxn that it has now, as a JSON text. The record then reads as a bind's.

    Returns:
        `NOT_BOUND` where nothing was bound, or nobody can tell until when.
    """
    parameters = bound_parameters(claim, settlement)
    expires_at = expires_at_of(parameters)
    if not expires_at:
        return NOT_BOUND
    fields = settlement.fields
    names = names_of(str(fields.get("subs_id", "")), str(fields.get("phone_no_x", "")), parameters)
    return expires_at, digests_of(names, seal)


def bound_until(claim: Claim, settlement: Settlement) -> int:
    """The Expiration of what was bound, in Unix ms; 0 where nothing was, or nobody can tell."""
    return expires_at_of(bound_parameters(claim, settlement))


def bound_parameters(claim: Claim, settlement: Settlement) -> Mapping[str, str]:
    """BindAxn's parameters of the binding that a settlement tells of; empty where nothing was bound."""
    if not settlement.state.is_bound:
        return {}
    given = settlement.fields.get("request")
    parameters: Mapping[str, str] = claim.parameters if given is None else json.loads(str(given))
    return parameters


def order_of(claim: Claim, settlement: Settlement) -> str:
    """The digest of the order that a binding is made for, as `closed_orders` has it; empty where there is neither."""
    out_order_id = bound_parameters(claim, settlement).get("OutOrderId")
    return order_digest(out_order_id) if out_order_id else ""


def expires_at_of(parameters: Mapping[str, str]) -> int:
    """The Expiration among these wire parameters, in Unix ms; 0 where there is none that can be read."""
    try:
        return unix_ms(parse_expiration(parameters.get("Expiration")))
    except ValueError:
        return 0


def digest_of(name: BindingName, seal: Seal = NO_SEAL) -> str:
    """What a name is called in the index. The scripts that change and sweep bindings reckon it in the same way."""
    value = seal.name_of(name.value) if name.kind is NameKind.PHONE_NO_X else name.value
    return digest_of_text(f"{name.kind.value}:{value}")


def all_digests_of(name: BindingName, seal: Seal) -> list[str]:
    """What it is called now, and what it was called when it was written without keys."""
    values = seal.names_of(name.value) if name.kind is NameKind.PHONE_NO_X else [name.value]
    return [digest_of_text(f"{name.kind.value}:{value}") for value in values]


def digest_of_text(text: str) -> str:
    """The same of a name's kind, a colon, and what stands for its value in a record."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:DIGEST_LENGTH]


def digests_of(names: Iterable[BindingName], seal: Seal = NO_SEAL) -> str:
    """Their digests, run together."""
    return "".join([digest_of(name, seal) for name in names])


def binding_in(
    job_id: str, state: str | None, subs_id: str | None, phone_no_x: str | None, request: str | None
) -> Binding | str:
    """A job's binding, from fields of its record; else its state, empty without a record."""
    if state is None or not is_bound_state(state):
        return state or ""
    return named_in(job_id, subs_id, phone_no_x, request)


def named_in(binding_id: str | None, subs_id: str | None, phone_no_x: str | None, request: str | None) -> Binding:
    """What a record's fields name."""
    pool_key = json.loads(request or "{}").get("PoolKey", "")
    return Binding(subs_id or "", phone_no_x or "", pool_key, binding_id or "")
