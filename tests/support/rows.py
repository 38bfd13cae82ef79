"""Rows: what the tables of one account hold, kept as every store keeps them."""

from msgspec.structs import replace

from engine.changes import Changes, PositionRow
from engine.receipts import Receipt
from engine.views import FillView, OrderView


class Rows:
    """The rows after any number of `Changes`."""

    def __init__(self) -> None:
        self.orders: dict[str, OrderView] = {}
        self.fills: dict[str, FillView] = {}
        self.positions: dict[int, PositionRow] = {}
        self.receipts: list[Receipt] = []

    def take(self, changes: Changes) -> "Rows":
        amendment = changes.amendment
        self.orders |= {order.id: order for order in changes.orders}
        self.fills |= {fill.id: fill for fill in changes.fills}
        self.receipts += changes.receipts
        for order_id in amendment.orders:
            self.orders[order_id] = replace(self.orders[order_id], status="voided")
        for fill_id in amendment.fills:
            self.fills[fill_id] = replace(self.fills[fill_id], status="voided")
        for restated in amendment.restated:
            self.fills[restated.fill_id] = replace(self.fills[restated.fill_id], realized_pnl=restated.realized_pnl)
        for opened_seq in amendment.gone:
            self.positions.pop(opened_seq, None)
        self.positions |= {row.opened_seq: row for row in changes.positions}
        return self
