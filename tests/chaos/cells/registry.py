"""All cells, in the order of the table."""

from tests.chaos.bench import Cell
from tests.chaos.cells import batches, clocks, provider, queue_faults, receivers, redis_faults, renewals, workers

_MODULES = (workers, redis_faults, provider, clocks, queue_faults, receivers, batches, renewals)
CELLS: dict[str, Cell] = {cell.id: cell for module in _MODULES for cell in module.CELLS}
