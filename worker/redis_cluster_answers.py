"""What a cluster's client reads out of commands and answers."""

from collections.abc import Sequence
from typing import Any

from redis.crc import key_slot
from redis.exceptions import DataError

from worker.redis_urls import Address

_WAITS = ("WAIT", "WAITAOF")
_SCRIPTS = ("EVALSHA", "EVAL")
_WITHOUT_KEY = frozenset(("TIME", "INFO", "SCRIPT", "CONFIG", "DBSIZE", "ACL", "CLUSTER", "CLIENT", "ECHO"))


def command_name(args: Sequence[Any]) -> str:
    """In capitals; of a command of two words both."""
    return str(args[0]).upper()


def is_wait(name: str) -> bool:
    """Whether it waits for the writes of its own connection."""
    return name in _WAITS


def least(answers: Sequence[Any]) -> Any:
    """Of what several nodes answered to WAIT or WAITAOF; the first error where there is one."""
    for answer in answers:
        if isinstance(answer, Exception):
            return answer
    if isinstance(answers[0], list):
        return [min(counts) for counts in zip(*answers, strict=True)]
    return min(answers)


def slot_of(args: Sequence[Any]) -> int | None:
    """The slot of a command's key; None where it has none.

    Raises:
        DataError: nothing tells at which node it should run.
    """
    name = command_name(args)
    if name in _SCRIPTS:
        key = args[3] if int(args[2]) else None
    elif name.partition(" ")[0] in _WITHOUT_KEY:
        key = None
    elif len(args) > 1:
        key = args[1]
    else:
        raise DataError(f"{name} names no key, and is none of the commands that go to any node of a cluster")
    if key is None:
        return None
    return int(key_slot(key if isinstance(key, bytes) else str(key).encode()))


def slots_from(told: Sequence[Any], asked: Address) -> tuple[dict[int, Address], list[Address]]:
    """Read the reply to CLUSTER SLOTS.

    Args:
        told: ranges of slots, each with its nodes, the primary first.
        asked: who told. A node that does not know its own name is meant by its own host.

    Returns:
        The primary of each slot, and the replicas.
    """
    slots: dict[int, Address] = {}
    replicas = []
    for first, last, *nodes in told:
        primary, *others = [(str(host) if host and host != "?" else asked[0], int(port)) for host, port, *_ in nodes]
        slots.update(dict.fromkeys(range(int(first), int(last) + 1), primary))
        replicas += others
    return slots, replicas
