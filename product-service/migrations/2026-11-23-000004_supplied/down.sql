DROP INDEX stock_ledger_supplied;
