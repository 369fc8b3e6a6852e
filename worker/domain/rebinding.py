"""How a binding is made anew, and how far that has come."""

from enum import StrEnum


class RebindMode(StrEnum):
    """How a binding is made anew."""

    NEW_X = "new-x"
    """Another X: bound first, then the old binding is ended."""
    SAME_X = "same-x"
    """X is kept: the old binding is ended first, then X is bound again."""


class RebindStep(StrEnum):
    """What a rebind job does next. Each step's calls are attempts of their own, with nonces of their own.

    new-x: look_up, bind_new, unbind_old. same-x: look_up, unbind_old, bind_same_x; where X cannot be bound as asked,
    restore, and where it cannot be had at all, last_resort.
    """

    LOOK_UP = "look_up"
    """Read the old binding; nothing is changed yet."""
    BIND_NEW = "bind_new"
    """Bind another X; the old binding stays as it is."""
    UNBIND_OLD = "unbind_old"
    """End the old binding."""
    BIND_SAME_X = "bind_same_x"
    """Bind the X that was given free, as asked."""
    RESTORE = "restore"
    """Bind that X as it was before."""
    LAST_RESORT = "last_resort"
    """Bind any X as the old one was before."""
