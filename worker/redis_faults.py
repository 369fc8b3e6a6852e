"""What is wrong with the ledger's Redis and what to do about it, in words for whoever submits: their one place."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError

from worker.errors import LedgerUnavailableError
from worker.redis_scripts import longest_call_s

LEAST_ACL = "~axn1:* &axn1:* +@all -@dangerous +info"
"""The rights that our commands need, of a user of the ledger's Redis. INFO is asked by `axn doctor`, and before a
filing is `replicated`."""

_MASTER = "point AXN_REDIS_URL at the master"
_RIGHTS = f"lacks rights for this user; its ACL must allow {LEAST_ACL}"
_CA = "name its CA in AXN_REDIS_URL (?ssl_ca_certs=/path/ca.pem), and use the host name in its certificate"
_BY_TYPE: tuple[tuple[type[BaseException], str], ...] = (
    (exceptions.AuthenticationError, "refused the user name or password; check those in AXN_REDIS_URL"),
    (exceptions.BusyLoadingError, "is loading its data after a start; try again when it has"),
    (exceptions.MasterDownError, f"is a replica that has lost its master; {_MASTER}"),
    (exceptions.ReadOnlyError, f"is a read-only replica; {_MASTER}"),
    (exceptions.OutOfMemoryError, "is full and stored nothing; raise its maxmemory, or shorten AXN_RESULT_TTL"),
    (exceptions.NoPermissionError, _RIGHTS),
    (exceptions.TryAgainError, "is moving this job's slot to another node; try again when that is done"),
    (exceptions.MovedError, "is one node of a cluster; write redis+cluster:// in AXN_REDIS_URL"),
    (exceptions.ClusterDownError, "is a cluster that lacks a node for some slots; see CLUSTER INFO of its nodes"),
    (MasterNotFoundError, "is unknown to the Sentinels, or has no primary; check their addresses and the service name"),
    (ssl.SSLCertVerificationError, f"shows a certificate that is not trusted; {_CA}"),
    (exceptions.InvalidResponse, "speaks another protocol than Redis; check host and port in AXN_REDIS_URL"),
)
_BY_WORDS = (
    ("ACL failure in script", _RIGHTS),
    ("user executing the script can't run", _RIGHTS),  # as Redis 7.0 says it
    ("cluster support disabled", "is no cluster; write redis:// in AXN_REDIS_URL"),
    ("max number of clients", "has no connection left; raise its maxclients, or run fewer processes"),
    ("No connection available", "is asked too much at a time by this process; try again, or submit many at once"),
    ("DB index is out of range", "has no database of that number; check the one in AXN_REDIS_URL"),
    ("NOREPLICAS", "has too few replicas to take writes; mend them, or lower its min-replicas-to-write"),
    ("MISCONF", "cannot save to its disk and takes no writes; see its log, free the disk"),
)
_SLOW = "did not answer in three tries of AXN_REDIS_TIMEOUT; it hangs or is overloaded, or the network loses packets"
_AWAY = "cannot be reached; check AXN_REDIS_URL, and that the server runs"
_DEEPEST_CAUSE = 5


def redis_fault(failure: BaseException) -> str:
    """A sentence: what is wrong, and the fix. Nothing of the failed command stands in it, which may hold a number."""
    return f"the ledger's Redis {_predicate(failure)}"


def _predicate(failure: BaseException) -> str:
    chain = _with_its_causes(failure)
    for one in chain:
        for kind, text in _BY_TYPE:
            if isinstance(one, kind):
                return text
        for marker, text in _BY_WORDS:
            if marker in str(one):
                return text
    if any(isinstance(one, exceptions.TimeoutError | TimeoutError) for one in chain):
        return _SLOW
    if isinstance(failure, exceptions.ConnectionError | OSError):
        return _AWAY
    return f"refused a command ({type(failure).__name__}); check that it is Redis 7.0 or Valkey, and see its log"


def _with_its_causes(failure: BaseException) -> list[BaseException]:
    """On a unix socket redis-py wraps whatever a new connection meets into a plain ConnectionError."""
    chain = [failure]
    while len(chain) < _DEEPEST_CAUSE and (cause := chain[-1].__cause__ or chain[-1].__context__):
        chain.append(cause)
    return chain


@asynccontextmanager
async def asking(client: Redis, *, is_one_call: bool = True) -> AsyncIterator[None]:
    """Around calls to the ledger's Redis whose failure is the caller's business.

    Args:
        client: the one asked.
        is_one_call: then it may take no longer than redis-py's tries together; long pipelines are bound by each answer.

    Raises:
        LedgerUnavailableError: says what is wrong. Without a cause: redis-py's own texts repeat the command.
    """
    try:
        async with asyncio.timeout(longest_call_s(client) if is_one_call else None):
            yield
    except (exceptions.RedisError, OSError) as failure:
        raise LedgerUnavailableError(redis_fault(failure)) from None
