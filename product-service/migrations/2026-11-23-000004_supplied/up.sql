-- How many units of a product were ever put on sale: its movements that belong to no order. Orders, nearly all of the
-- ledger, are not in this index, so a sale writes nothing to it.
CREATE INDEX stock_ledger_supplied ON stock_ledger (product_id) INCLUDE (direction, quantity) WHERE order_id IS NULL;
COMMENT ON INDEX stock_ledger_supplied IS 'What was supplied, for the console and the sale page: supplied minus stock is what was sold.';
