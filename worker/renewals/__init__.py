"""Keeps bindings: renews them before their end, binds anew what has ended, and ends what an order no longer needs."""
