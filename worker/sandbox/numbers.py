"""The actions on numbers rather than on bindings: lock and unlock, look at, buy and give back, list."""

from collections.abc import Callable

from worker.sandbox.answers import Answer
from worker.sandbox.bindings import provider_time
from worker.sandbox.calls import Call
from worker.sandbox.parameters import integer, one_of, required, secret_number
from worker.sandbox.pools import EVERYWHERE, NumberPool
from worker.sandbox.refusals import BusinessError

_EVERY_CITY_LISTED = "全国列表"
_VIRTUAL_OPERATOR = "1"
_SPECS = (_VIRTUAL_OPERATOR, "2", "3")
_IDLE, _BOUND, _LOCKED = 0, 1, 2
_CERTIFIED = 1
_VERIFIED = "4"
_LONGEST_REQ_ID = 20
_MOST_PER_PAGE = 100


def lock_secret_no(call: Call) -> Answer:
    """LockSecretNo: automatic selection passes X over from now on; twice is as good as once."""
    return _on_own_number(call, NumberPool.lock)


def unlock_secret_no(call: Call) -> Answer:
    """UnlockSecretNo: automatic selection may take X again; harmless on an X that is not locked."""
    return _on_own_number(call, NumberPool.unlock)


def release_secret_no(call: Call) -> Answer:
    """ReleaseSecretNo: X leaves the account, unless it has a live binding."""
    pool, number = _own_number(call)
    if not pool.is_free(number):
        raise BusinessError("isv.FORBIDDEN_ACTION", "releaseSecretNo: the number has a binding")
    pool.remove(number)
    return Answer()


def query_secret_no_detail(call: Call) -> Answer:
    """QuerySecretNoDetail: whether X is idle (0), bound (1) or locked (2), and where it comes from."""
    pool, number = _own_number(call)
    info = {
        "SecretStatus": _status(pool, number),
        "CertifyStatus": _CERTIFIED,
        "Vendor": int(_VIRTUAL_OPERATOR),
        "City": pool.city_of(number),
        "Province": pool.city_of(number),
        "PurchaseTime": provider_time(pool.bought_at(number)),
    }
    return Answer(fields={"SecretNoInfoDTO": info})


def query_secret_no_remain(call: Call) -> Answer:
    """QuerySecretNoRemain: how many numbers are for sale, not how many are free in a pool."""
    city, prefix = _wanted(call)
    sold_here = call.parameters["SpecId"] == _VIRTUAL_OPERATOR
    shop = call.account.shop
    amount = shop.amount(EVERYWHERE if city == _EVERY_CITY_LISTED else city, prefix) if sold_here else 0
    remain: dict[str, object] = {"City": city, "Amount": amount}
    if city == _EVERY_CITY_LISTED:
        listed = [{"City": name, "Amount": shop.amount(name, prefix)} for name in shop.cities if sold_here]
        remain["RemainDTOList"] = {"remainDTO": listed}
    return Answer(fields={"SecretRemainDTO": remain})


def buy_secret_no(call: Call) -> Answer:
    """BuySecretNo: a number for sale joins the pool. The same call twice buys two."""
    pool = call.pool()
    city, prefix = _wanted(call)
    sold = call.account.shop.sell(city, prefix) if call.parameters["SpecId"] == _VIRTUAL_OPERATOR else None
    if sold is None:
        raise BusinessError("isv.NO_AVAILABLE_NUMBER", "no available number")
    pool.add(sold[1], sold[0], call.now)
    return Answer(fields={"SecretBuyInfoDTO": {"SecretNo": sold[1]}})


def list_x_telephones(call: Call) -> Answer:
    """ListXTelephones: the account's numbers, a page at a time; its Code of success is a code of its own."""
    if len(required(call.parameters, "ReqId")) > _LONGEST_REQ_ID:
        raise BusinessError("isv.INVALID_PARAMETERS", f"ReqId must have at most {_LONGEST_REQ_ID} characters")
    page, size = _page(call, "PageNo", 1), min(_page(call, "PageSize", 10), _MOST_PER_PAGE)
    wanted_pool = call.parameters.get("CustomerPoolKey")
    pools = [pool for pool in call.account.pools.values() if wanted_pool in {None, "", pool.pool_key}]
    numbers = [(pool, number) for pool in pools for number in pool]
    shown = [_telephone(pool, number) for pool, number in numbers[(page - 1) * size : page * size]]
    data = {"PageNo": page, "PageSize": size, "Total": len(numbers), "List": shown}
    return Answer(code="0000", message="success", fields={"Success": True, "Data": data})


def _telephone(pool: NumberPool, number: str) -> dict[str, object]:
    return {
        "Telephone": number,
        "TelephoneStatus": _VERIFIED,
        "CustomerPoolKey": pool.pool_key,
        "CustomerPoolName": pool.pool_key,
        "BuyTime": provider_time(pool.bought_at(number)),
        "SmsStatus": 0,
    }


def _page(call: Call, name: str, default: int) -> int:
    value = int(integer(call.parameters, name) or default)
    if not value:
        raise BusinessError("isv.INVALID_PARAMETERS", f"{name} must be 1 or more")
    return value


def _wanted(call: Call) -> tuple[str, str]:
    city = required(call.parameters, "City")
    required(call.parameters, "SpecId")
    one_of(call.parameters, "SpecId", _SPECS)
    return city, secret_number(call.parameters, "SecretNo")


def _own_number(call: Call) -> tuple[NumberPool, str]:
    required(call.parameters, "SecretNo")
    pool, number = call.pool(), secret_number(call.parameters, "SecretNo")
    if number not in pool:
        raise BusinessError("isv.NO_NOT_EXIST", "no not exist")
    return pool, number


def _on_own_number(call: Call, change: Callable[[NumberPool, str], None]) -> Answer:
    pool, number = _own_number(call)
    change(pool, number)
    return Answer()


def _status(pool: NumberPool, number: str) -> int:
    if not pool.is_free(number):
        return _BOUND
    return _LOCKED if pool.is_locked(number) else _IDLE
