DROP INDEX outbox_troubled;
CREATE INDEX outbox_status ON outbox (status, id DESC) WHERE status <> 'SENT';
COMMENT ON INDEX outbox_status IS 'The messages of a status, newest first, for operators.';

ALTER TABLE orders
    DROP CONSTRAINT orders_fail_reason_check,
    ADD CONSTRAINT orders_fail_reason_check CHECK (fail_reason ~ '^[A-Z][A-Z0-9_]{0,63}$'),
    DROP CONSTRAINT orders_idempotency_key_check,
    ADD CONSTRAINT orders_idempotency_key_check CHECK (idempotency_key ~ '^[!-~]{1,128}$');

CREATE INDEX orders_status ON orders (status, id DESC);
COMMENT ON INDEX orders_status IS 'The orders of a status, newest first.';
ALTER TABLE orders SET (fillfactor = 80);
COMMENT ON TABLE orders IS 'One row per order. Its status changes only by an UPDATE whose WHERE names the status it leaves; fillfactor 80 keeps those updates on their page.';
