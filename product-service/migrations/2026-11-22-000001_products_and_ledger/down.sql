DROP TABLE tombstones;
DROP TABLE stock_ledger;
DROP FUNCTION stock_ledger_follows();
DROP FUNCTION stock_ledger_is_append_only();
DROP TABLE products;
