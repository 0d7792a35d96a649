-- What buyers owned as of a ledger version, which the gate is loaded with, is read from the index alone.
DROP INDEX stock_ledger_buyer;
CREATE INDEX stock_ledger_buyer ON stock_ledger (product_id, buyer_id) INCLUDE (stock_version, direction, quantity) WHERE buyer_id IS NOT NULL;
COMMENT ON INDEX stock_ledger_buyer IS 'What a buyer owns of a product that limits purchases, as of any version, without reading the rows.';
