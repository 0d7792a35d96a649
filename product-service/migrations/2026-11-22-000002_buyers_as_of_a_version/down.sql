DROP INDEX stock_ledger_buyer;
CREATE INDEX stock_ledger_buyer ON stock_ledger (product_id, buyer_id) INCLUDE (direction, quantity) WHERE buyer_id IS NOT NULL;
COMMENT ON INDEX stock_ledger_buyer IS 'What a buyer owns of a product that limits purchases, without reading the rows.';
