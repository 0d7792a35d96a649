CREATE TABLE products (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text        NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    price           bigint      NOT NULL CHECK (price BETWEEN 0 AND 1000000000000000),
    stock           bigint      NOT NULL CHECK (stock BETWEEN 0 AND 1000000000000),
    stock_version   bigint      NOT NULL CHECK (stock_version >= 0),
    status          text        NOT NULL CHECK (status IN ('ACTIVE', 'DISCONTINUED')),
    stock_strategy  text        NOT NULL CHECK (stock_strategy IN ('DB_ONLY', 'REDIS_FIRST')),
    purchase_limit  bigint      CHECK (purchase_limit BETWEEN 1 AND 1000000),
    sale_starts_at  timestamptz,
    sale_ends_at    timestamptz CHECK (sale_ends_at > sale_starts_at),
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (stock_version > 0 OR stock = 0)
) WITH (fillfactor = 50);

COMMENT ON TABLE products IS 'What can be bought. One row is locked for every movement of its stock; fillfactor 50 keeps those updates on their page.';
COMMENT ON COLUMN products.price IS 'Minor units of the currency.';
COMMENT ON COLUMN products.stock IS 'Units available. Always balance_after of the ledger row with version stock_version; 0 where there is none.';
COMMENT ON COLUMN products.stock_version IS 'Number of committed movements: +1 each, under the row lock.';
COMMENT ON COLUMN products.status IS 'DISCONTINUED: cannot be sold any more; decreases can still be voided.';
COMMENT ON COLUMN products.stock_strategy IS 'DB_ONLY: decided here alone. REDIS_FIRST: hot, the gate in Redis filters first.';
COMMENT ON COLUMN products.purchase_limit IS 'Units one buyer may own, over all his orders; null: no limit.';
COMMENT ON COLUMN products.sale_starts_at IS 'First moment at which it may be sold; null: from ever.';
COMMENT ON COLUMN products.sale_ends_at IS 'First moment at which it may not be sold any more; null: never.';

CREATE INDEX products_hot ON products (id) WHERE stock_strategy = 'REDIS_FIRST';
COMMENT ON INDEX products_hot IS 'The hot products, which every instance lists once a second.';

CREATE TABLE stock_ledger (
    id             bigint GENERATED ALWAYS AS IDENTITY,
    product_id     bigint      NOT NULL,
    stock_version  bigint      NOT NULL CHECK (stock_version >= 1),
    direction      text        NOT NULL CHECK (direction IN ('IN', 'OUT')),
    quantity       bigint      NOT NULL CHECK (quantity > 0),
    balance_after  bigint      NOT NULL CHECK (balance_after BETWEEN 0 AND 1000000000000),
    reason         text        NOT NULL,
    order_id       bigint      CHECK (order_id >= 1),
    buyer_id       text        CHECK (char_length(buyer_id) BETWEEN 1 AND 64),
    request_id     text        NOT NULL CHECK (char_length(request_id) BETWEEN 1 AND 128),
    note           text        CHECK (char_length(note) <= 500),
    created_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT stock_ledger_version PRIMARY KEY (product_id, stock_version),
    CONSTRAINT stock_ledger_request UNIQUE (request_id),
    CONSTRAINT stock_ledger_reason CHECK (
        CASE reason
            WHEN 'INITIAL' THEN direction = 'IN' AND stock_version = 1 AND order_id IS NULL
            WHEN 'ORDER_DECREMENT' THEN direction = 'OUT' AND order_id IS NOT NULL
            WHEN 'ORDER_INCREMENT' THEN direction = 'IN' AND order_id IS NOT NULL
            WHEN 'MANUAL' THEN order_id IS NULL
            WHEN 'ADJUST' THEN order_id IS NULL
            ELSE false
        END),
    CONSTRAINT stock_ledger_first_balance CHECK (stock_version > 1 OR (direction = 'IN' AND balance_after = quantity)),
    CONSTRAINT stock_ledger_in_adds CHECK (direction = 'OUT' OR balance_after >= quantity)
);

COMMENT ON TABLE stock_ledger IS 'Append only: every movement of stock, once. Also the idempotency record of every request that moved stock.';
COMMENT ON COLUMN stock_ledger.id IS 'Order of insertion over all products. Nothing looks rows up by it, so it has no index.';
COMMENT ON COLUMN stock_ledger.stock_version IS 'Gapless per product, from 1. The number that makes telling the gate idempotent and free of order.';
COMMENT ON COLUMN stock_ledger.balance_after IS 'The product''s stock after this movement: the balance before, plus or minus quantity.';
COMMENT ON COLUMN stock_ledger.buyer_id IS 'Who bought, where the request said so; copied to the row that gives back.';
COMMENT ON COLUMN stock_ledger.request_id IS 'Idempotency key of the request that did this. One effect per request id is the rule.';

CREATE INDEX stock_ledger_order ON stock_ledger (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX stock_ledger_buyer ON stock_ledger (product_id, buyer_id) INCLUDE (direction, quantity) WHERE buyer_id IS NOT NULL;
COMMENT ON INDEX stock_ledger_order IS 'Movements of one order.';
COMMENT ON INDEX stock_ledger_buyer IS 'What a buyer owns of a product that limits purchases, without reading the rows.';

CREATE TABLE tombstones (
    void_id        text        PRIMARY KEY CHECK (char_length(void_id) BETWEEN 1 AND 128),
    voided_id      text        NOT NULL CHECK (char_length(voided_id) BETWEEN 1 AND 128),
    product_id     bigint      NOT NULL REFERENCES products (id),
    order_id       bigint      NOT NULL CHECK (order_id >= 1),
    quantity       bigint      NOT NULL CHECK (quantity > 0),
    reason         text        NOT NULL CHECK (reason IN ('ORDER_CANCELLED', 'ORDER_FAILED')),
    given_back     bigint      NOT NULL CHECK (given_back IN (0, quantity)),
    stock_after    bigint      NOT NULL CHECK (stock_after >= 0),
    created_at     timestamptz NOT NULL DEFAULT now(),
    CHECK (void_id <> voided_id)
);

COMMENT ON TABLE tombstones IS 'One row per void (increase by order): the mark that its decrease is given up for good, and the void''s idempotency record.';
COMMENT ON COLUMN tombstones.void_id IS 'Request id of the void.';
COMMENT ON COLUMN tombstones.voided_id IS 'Request id of the decrease that is refused from now on.';
COMMENT ON COLUMN tombstones.given_back IS 'Units this void put back: what the decrease took, or 0 where it took nothing or was voided before.';
COMMENT ON COLUMN tombstones.stock_after IS 'The product''s stock after this void: what a replay answers.';

CREATE INDEX tombstones_voided ON tombstones (voided_id);
CREATE UNIQUE INDEX tombstones_give_back_once ON tombstones (voided_id) WHERE given_back > 0;
COMMENT ON INDEX tombstones_voided IS 'Whether a decrease was given up: looked at before it is sold.';
COMMENT ON INDEX tombstones_give_back_once IS 'Voided twice is voided once.';

-- The ledger is append only, for everybody.
CREATE FUNCTION stock_ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'stock_ledger is append only: % is refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER stock_ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON stock_ledger
    FOR EACH STATEMENT EXECUTE FUNCTION stock_ledger_is_append_only();

-- What a CHECK of one row cannot see: rows follow one another without a gap, and each balance from the one before.
-- Once per statement, not per row, so that a batch of hundreds pays for it once.
CREATE FUNCTION stock_ledger_follows() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    broken record;
BEGIN
    SELECT n.product_id, n.stock_version INTO broken
    FROM (
        SELECT product_id, stock_version, balance_after,
               CASE direction WHEN 'IN' THEN quantity ELSE -quantity END AS signed,
               lag(stock_version) OVER w AS version_before,
               lag(balance_after) OVER w AS balance_before
        FROM inserted
        WINDOW w AS (PARTITION BY product_id ORDER BY stock_version)
    ) n
    WHERE CASE WHEN n.version_before IS NOT NULL
               THEN n.stock_version <> n.version_before + 1 OR n.balance_after <> n.balance_before + n.signed
               ELSE n.stock_version > 1 AND NOT EXISTS (
                   SELECT FROM stock_ledger l
                   WHERE l.product_id = n.product_id AND l.stock_version = n.stock_version - 1
                     AND l.balance_after + n.signed = n.balance_after)
          END
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'ledger row % of product % does not follow from the one before',
            broken.stock_version, broken.product_id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER stock_ledger_gapless AFTER INSERT ON stock_ledger
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION stock_ledger_follows();
