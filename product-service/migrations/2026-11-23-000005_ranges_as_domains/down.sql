ALTER TABLE tombstones
    ALTER void_id TYPE text, ADD CONSTRAINT tombstones_void_id_check CHECK (char_length(void_id) BETWEEN 1 AND 128),
    ALTER voided_id TYPE text, ADD CONSTRAINT tombstones_voided_id_check CHECK (char_length(voided_id) BETWEEN 1 AND 128),
    ALTER order_id TYPE bigint, ADD CONSTRAINT tombstones_order_id_check CHECK (order_id >= 1),
    ALTER quantity TYPE bigint, ADD CONSTRAINT tombstones_quantity_check CHECK (quantity > 0),
    ALTER reason TYPE text, ADD CONSTRAINT tombstones_reason_check CHECK (reason IN ('ORDER_CANCELLED', 'ORDER_FAILED')),
    ALTER stock_after TYPE bigint, ADD CONSTRAINT tombstones_stock_after_check CHECK (stock_after >= 0);

ALTER TABLE products
    ALTER name TYPE text, ADD CONSTRAINT products_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    ALTER price TYPE bigint, ADD CONSTRAINT products_price_check CHECK (price BETWEEN 0 AND 1000000000000000),
    ALTER stock TYPE bigint, ADD CONSTRAINT products_stock_check CHECK (stock BETWEEN 0 AND 1000000000000),
    ALTER stock_version TYPE bigint, ADD CONSTRAINT products_stock_version_check CHECK (stock_version >= 0),
    ALTER status TYPE text, ADD CONSTRAINT products_status_check CHECK (status IN ('ACTIVE', 'DISCONTINUED')),
    ALTER stock_strategy TYPE text, ADD CONSTRAINT products_stock_strategy_check CHECK (stock_strategy IN ('DB_ONLY', 'REDIS_FIRST')),
    ALTER purchase_limit TYPE bigint, ADD CONSTRAINT products_purchase_limit_check CHECK (purchase_limit BETWEEN 1 AND 1000000),
    ALTER version TYPE bigint, ADD CONSTRAINT products_version_check CHECK (version >= 1);

ALTER TABLE stock_ledger
    ALTER stock_version TYPE bigint, ADD CONSTRAINT stock_ledger_stock_version_check CHECK (stock_version >= 1),
    ALTER direction TYPE text, ADD CONSTRAINT stock_ledger_direction_check CHECK (direction IN ('IN', 'OUT')),
    ALTER quantity TYPE bigint, ADD CONSTRAINT stock_ledger_quantity_check CHECK (quantity > 0),
    ALTER balance_after TYPE bigint, ADD CONSTRAINT stock_ledger_balance_after_check CHECK (balance_after BETWEEN 0 AND 1000000000000),
    ALTER reason TYPE text,
    ALTER order_id TYPE bigint, ADD CONSTRAINT stock_ledger_order_id_check CHECK (order_id >= 1),
    ALTER buyer_id TYPE text, ADD CONSTRAINT stock_ledger_buyer_id_check CHECK (char_length(buyer_id) BETWEEN 1 AND 64),
    ALTER request_id TYPE text, ADD CONSTRAINT stock_ledger_request_id_check CHECK (char_length(request_id) BETWEEN 1 AND 128),
    ALTER note TYPE text, ADD CONSTRAINT stock_ledger_note_check CHECK (char_length(note) <= 500),
    ADD CONSTRAINT stock_ledger_reason CHECK (
        CASE reason
            WHEN 'INITIAL' THEN direction = 'IN' AND stock_version = 1 AND order_id IS NULL
            WHEN 'ORDER_DECREMENT' THEN direction = 'OUT' AND order_id IS NOT NULL
            WHEN 'ORDER_INCREMENT' THEN direction = 'IN' AND order_id IS NOT NULL
            WHEN 'MANUAL' THEN order_id IS NULL
            WHEN 'ADJUST' THEN order_id IS NULL
            ELSE false
        END),
    ADD CONSTRAINT stock_ledger_first_balance CHECK (stock_version > 1 OR (direction = 'IN' AND balance_after = quantity)),
    ADD CONSTRAINT stock_ledger_in_adds CHECK (direction = 'OUT' OR balance_after >= quantity);

CREATE OR REPLACE FUNCTION stock_ledger_follows() RETURNS trigger LANGUAGE plpgsql AS $$
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

DROP DOMAIN product_name, price, stock_units, moved_units, stock_version, movement_version, product_status, stock_strategy,
    purchase_limit, change_count, direction, movement_reason, order_id, buyer_id, request_id, void_reason, note;
