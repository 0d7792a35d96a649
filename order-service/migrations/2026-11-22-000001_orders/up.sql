CREATE TABLE orders (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product_id   bigint      NOT NULL CHECK (product_id >= 1),
    buyer_id     text        CHECK (char_length(buyer_id) BETWEEN 1 AND 64),
    quantity     bigint      NOT NULL CHECK (quantity BETWEEN 1 AND 1000000),
    status       text        NOT NULL DEFAULT 'PENDING'
                             CHECK (status IN ('PENDING', 'CONFIRMED', 'CANCELLED', 'FAILED')),
    fail_reason  text        CHECK (fail_reason ~ '^[A-Z][A-Z0-9_]{0,63}$'),
    flow         text        NOT NULL CHECK (flow IN ('SYNC', 'ASYNC')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT orders_failed_with_reason CHECK ((status = 'FAILED') = (fail_reason IS NOT NULL))
) WITH (fillfactor = 80);

COMMENT ON TABLE orders IS 'One row per order. Its status changes only by an UPDATE whose WHERE names the status it leaves; fillfactor 80 keeps those updates on their page.';
COMMENT ON COLUMN orders.id IS 'Also part of the keys of its effects on stock: DEC-{id} takes, INC-{id} gives back.';
COMMENT ON COLUMN orders.product_id IS 'The product, as product-service numbers it. No foreign key: it lives in another database.';
COMMENT ON COLUMN orders.buyer_id IS 'Who buys, as the client names him; null: anonymous.';
COMMENT ON COLUMN orders.quantity IS 'Units ordered.';
COMMENT ON COLUMN orders.status IS 'PENDING: outcome open. CONFIRMED: stock taken. CANCELLED: was confirmed, stock given back. FAILED: no stock kept; fail_reason says why.';
COMMENT ON COLUMN orders.fail_reason IS 'The word for why it failed, as in error bodies; null unless FAILED.';
COMMENT ON COLUMN orders.flow IS 'SYNC: decided within the request (v1). ASYNC: decided by message (v2).';
COMMENT ON COLUMN orders.created_at IS 'When the order was accepted.';
COMMENT ON COLUMN orders.updated_at IS 'When status last changed.';

CREATE INDEX orders_buyer ON orders (buyer_id, id DESC) WHERE buyer_id IS NOT NULL;
COMMENT ON INDEX orders_buyer IS 'The orders of a buyer, newest first.';

CREATE INDEX orders_product ON orders (product_id, id DESC);
COMMENT ON INDEX orders_product IS 'The orders of a product, newest first.';

CREATE INDEX orders_pending ON orders (created_at) WHERE status = 'PENDING';
COMMENT ON INDEX orders_pending IS 'Orders whose outcome is open, oldest first: what recovery looks for. Small, since orders leave it.';
