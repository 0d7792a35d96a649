-- What one value may be is a domain instead of a CHECK. Postgres reads each CHECK of a table from its stored text again for every
-- statement that writes to the table, all of them even where one column changes; for a single sale that was two fifths of its
-- work. The rules of a domain are kept ready, and only those of the columns that are written are looked at.
-- Ids are compared byte by byte, whatever language the database is in: its rules take longer, and change with the system.
CREATE DOMAIN product_name AS text CONSTRAINT product_name_check CHECK (char_length(VALUE) BETWEEN 1 AND 200);
CREATE DOMAIN price AS bigint CONSTRAINT price_check CHECK (VALUE BETWEEN 0 AND 1000000000000000);
CREATE DOMAIN stock_units AS bigint CONSTRAINT stock_units_check CHECK (VALUE BETWEEN 0 AND 1000000000000);
CREATE DOMAIN moved_units AS bigint CONSTRAINT moved_units_check CHECK (VALUE > 0);
CREATE DOMAIN stock_version AS bigint CONSTRAINT stock_version_check CHECK (VALUE >= 0);
CREATE DOMAIN movement_version AS bigint CONSTRAINT movement_version_check CHECK (VALUE >= 1);
CREATE DOMAIN product_status AS text CONSTRAINT product_status_check CHECK (VALUE IN ('ACTIVE', 'DISCONTINUED'));
CREATE DOMAIN stock_strategy AS text CONSTRAINT stock_strategy_check CHECK (VALUE IN ('DB_ONLY', 'REDIS_FIRST'));
CREATE DOMAIN purchase_limit AS bigint CONSTRAINT purchase_limit_check CHECK (VALUE BETWEEN 1 AND 1000000);
CREATE DOMAIN change_count AS bigint CONSTRAINT change_count_check CHECK (VALUE >= 1);
CREATE DOMAIN direction AS text CONSTRAINT direction_check CHECK (VALUE IN ('IN', 'OUT'));
CREATE DOMAIN movement_reason AS text CONSTRAINT movement_reason_check CHECK (VALUE IN ('INITIAL', 'ORDER_DECREMENT', 'ORDER_INCREMENT', 'MANUAL', 'ADJUST'));
CREATE DOMAIN order_id AS bigint CONSTRAINT order_id_check CHECK (VALUE >= 1);
CREATE DOMAIN buyer_id AS text COLLATE "C" CONSTRAINT buyer_id_check CHECK (char_length(VALUE) BETWEEN 1 AND 64);
CREATE DOMAIN request_id AS text COLLATE "C" CONSTRAINT request_id_check CHECK (char_length(VALUE) BETWEEN 1 AND 128);
CREATE DOMAIN void_reason AS text CONSTRAINT void_reason_check CHECK (VALUE IN ('ORDER_CANCELLED', 'ORDER_FAILED'));
CREATE DOMAIN note AS text CONSTRAINT note_check CHECK (char_length(VALUE) <= 500);

ALTER TABLE products
    DROP CONSTRAINT products_name_check, ALTER name TYPE product_name,
    DROP CONSTRAINT products_price_check, ALTER price TYPE price,
    DROP CONSTRAINT products_stock_check, ALTER stock TYPE stock_units,
    DROP CONSTRAINT products_stock_version_check, ALTER stock_version TYPE stock_version,
    DROP CONSTRAINT products_status_check, ALTER status TYPE product_status,
    DROP CONSTRAINT products_stock_strategy_check, ALTER stock_strategy TYPE stock_strategy,
    DROP CONSTRAINT products_purchase_limit_check, ALTER purchase_limit TYPE purchase_limit,
    DROP CONSTRAINT products_version_check, ALTER version TYPE change_count;

-- That the first balance is what came in, and that what comes in is in the balance, follows with the rest of the balances.
ALTER TABLE stock_ledger
    DROP CONSTRAINT stock_ledger_stock_version_check, ALTER stock_version TYPE movement_version,
    DROP CONSTRAINT stock_ledger_direction_check, ALTER direction TYPE direction,
    DROP CONSTRAINT stock_ledger_quantity_check, ALTER quantity TYPE moved_units,
    DROP CONSTRAINT stock_ledger_balance_after_check, ALTER balance_after TYPE stock_units,
    DROP CONSTRAINT stock_ledger_reason, ALTER reason TYPE movement_reason,
    DROP CONSTRAINT stock_ledger_order_id_check, ALTER order_id TYPE order_id,
    DROP CONSTRAINT stock_ledger_buyer_id_check, ALTER buyer_id TYPE buyer_id,
    DROP CONSTRAINT stock_ledger_request_id_check, ALTER request_id TYPE request_id,
    DROP CONSTRAINT stock_ledger_note_check, ALTER note TYPE note,
    DROP CONSTRAINT stock_ledger_first_balance,
    DROP CONSTRAINT stock_ledger_in_adds;

ALTER TABLE tombstones
    DROP CONSTRAINT tombstones_void_id_check, ALTER void_id TYPE request_id,
    DROP CONSTRAINT tombstones_voided_id_check, ALTER voided_id TYPE request_id,
    DROP CONSTRAINT tombstones_order_id_check, ALTER order_id TYPE order_id,
    DROP CONSTRAINT tombstones_quantity_check, ALTER quantity TYPE moved_units,
    DROP CONSTRAINT tombstones_reason_check, ALTER reason TYPE void_reason,
    DROP CONSTRAINT tombstones_stock_after_check, ALTER stock_after TYPE stock_units;

-- Also once per statement for all its rows: whether reason, direction, order and version go together.
CREATE OR REPLACE FUNCTION stock_ledger_follows() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    broken record;
BEGIN
    SELECT n.product_id, n.stock_version, n.reason_fits INTO broken
    FROM (
        SELECT product_id, stock_version, balance_after,
               CASE direction WHEN 'IN' THEN quantity ELSE -quantity END AS signed,
               CASE reason
                   WHEN 'INITIAL' THEN direction = 'IN' AND stock_version = 1 AND order_id IS NULL
                   WHEN 'ORDER_DECREMENT' THEN direction = 'OUT' AND order_id IS NOT NULL
                   WHEN 'ORDER_INCREMENT' THEN direction = 'IN' AND order_id IS NOT NULL
                   ELSE order_id IS NULL
               END AS reason_fits,
               lag(stock_version) OVER w AS version_before,
               lag(balance_after) OVER w AS balance_before
        FROM inserted
        WINDOW w AS (PARTITION BY product_id ORDER BY stock_version)
    ) n
    WHERE NOT n.reason_fits OR CASE
        WHEN n.version_before IS NOT NULL
        THEN n.stock_version <> n.version_before + 1 OR n.balance_after <> n.balance_before + n.signed
        WHEN n.stock_version = 1 THEN n.balance_after <> n.signed
        ELSE NOT EXISTS (
            SELECT FROM stock_ledger l
            WHERE l.product_id = n.product_id AND l.stock_version = n.stock_version - 1
              AND l.balance_after + n.signed = n.balance_after)
        END
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'ledger row % of product % %', broken.stock_version, broken.product_id,
            CASE WHEN broken.reason_fits THEN 'does not follow from the one before'
                 ELSE 'has a reason that does not fit it' END
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
