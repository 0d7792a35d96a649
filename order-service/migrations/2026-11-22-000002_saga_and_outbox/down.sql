DROP TABLE outbox;
DROP TABLE saga;
CREATE INDEX orders_pending ON orders (created_at) WHERE status = 'PENDING';
COMMENT ON INDEX orders_pending IS 'Orders whose outcome is open, oldest first: what recovery looks for. Small, since orders leave it.';
DROP INDEX orders_status;
DROP INDEX orders_idempotency_key;
ALTER TABLE orders DROP COLUMN idempotency_key, DROP COLUMN attempt;
