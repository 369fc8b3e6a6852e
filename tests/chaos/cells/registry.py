"""All cells, in the order of the table."""

from tests.chaos.bench import Cell
from tests.chaos.cells import redis_faults, workers

CELLS: dict[str, Cell] = {cell.id: cell for module in (workers, redis_faults) for cell in module.CELLS}
