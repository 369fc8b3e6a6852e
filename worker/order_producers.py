"""The order system's face, where a whole order is concerned; see `worker.producers`."""

import asyncio

from worker.producer_process import ask, services
from worker.renewals.closing import ClosedOrder


def close_order(out_order_id: str, *, unbind: bool = False) -> ClosedOrder:
    """End `renew={"while": "open"}` for all bindings of an order. Repeating it harms nothing.

    Args:
        out_order_id: as their bind requests gave it. A bind that has not ended yet is not among those told of; it is
            bound and not kept, and with `unbind` ended.
        unbind: also end all of its active bindings, however they are kept.

    Raises:
        InvalidRequestError: it is no OutOrderId.
        LedgerUnavailableError: Redis did not answer; call it again.
    """
    closing = ask(services().closing.close_order(out_order_id, unbind=unbind))
    try:
        return closing.result()
    except BaseException:
        closing.cancel()
        raise


async def close_order_async(out_order_id: str, *, unbind: bool = False) -> ClosedOrder:
    """`close_order`, for coroutines."""
    closing = ask(services().closing.close_order(out_order_id, unbind=unbind))
    return await asyncio.wrap_future(closing)
