"""What an action works with: the account, and one authenticated call to it."""

from collections.abc import Mapping
from dataclasses import dataclass

from worker.sandbox.bindings import Binding, Bindings
from worker.sandbox.config import SandboxConfig
from worker.sandbox.parameters import required
from worker.sandbox.pools import NumberPool, make_stock
from worker.sandbox.refusals import BusinessError, missing


class Account:
    """All that the provider remembers for the customer."""

    def __init__(self, config: SandboxConfig, now: float) -> None:
        self.unknowns = config.unknowns
        self.pools, self.shop = make_stock(
            config.pools, config.for_sale, seed=config.seed, now=now, strict_city=config.unknowns.strict_city
        )
        self.bindings = Bindings(self.pools, read_lag_s=config.unknowns.read_lag_ms / 1000)


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request. `now` is the provider's clock in Unix seconds."""

    account: Account
    parameters: Mapping[str, str]
    now: float
    request_id: str
    nonce: str

    def pool(self) -> NumberPool:
        """The pool of `PoolKey`, which must be given."""
        pool = self.account.pools.get(required(self.parameters, "PoolKey"))
        if pool is None:
            raise BusinessError("isv.POOLKEY_NOT_EXISTS", "poolKey not exists")
        return pool

    def binding(self, number_parameter: str) -> Binding:
        """The binding that SubsId, X and PoolKey name together, live or not; older accounts give ProductType instead.

        Raises:
            BusinessError: isv.SUBS_NOT_EXIST if there was never one, or the three do not belong together.
        """
        subs_id, number = required(self.parameters, "SubsId"), required(self.parameters, number_parameter)
        if not (self.parameters.get("PoolKey") or self.parameters.get("ProductType")):
            raise missing("PoolKey")
        pool_key = self.pool().pool_key if self.parameters.get("PoolKey") else None
        binding = self.account.bindings.get(subs_id)
        if binding is None or binding.phone_no_x != number or pool_key not in {None, binding.pool_key}:
            raise BusinessError("isv.SUBS_NOT_EXIST", "subs not exist")
        return binding
