-- What one value may be is a domain instead of a CHECK. Postgres reads each CHECK of a table from its stored text again for every
-- statement that writes to the table, all of them even where one column changes. The rules of a domain are kept ready, and only
-- those of the columns that are written are looked at.
-- Keys are compared byte by byte, whatever language the database is in: its rules take longer, and change with the system.
CREATE DOMAIN order_id AS bigint CONSTRAINT order_id_check CHECK (VALUE >= 1);
CREATE DOMAIN product_id AS bigint CONSTRAINT product_id_check CHECK (VALUE >= 1);
CREATE DOMAIN buyer_id AS text COLLATE "C" CONSTRAINT buyer_id_check CHECK (char_length(VALUE) BETWEEN 1 AND 64);
CREATE DOMAIN ordered_units AS bigint CONSTRAINT ordered_units_check CHECK (VALUE BETWEEN 1 AND 1000000);
CREATE DOMAIN order_status AS text CONSTRAINT order_status_check CHECK (VALUE IN ('PENDING', 'CONFIRMED', 'CANCELLED', 'FAILED'));
CREATE DOMAIN order_flow AS text CONSTRAINT order_flow_check CHECK (VALUE IN ('SYNC', 'ASYNC'));
-- A counted repetition in a regular expression would cost 20 us per row.
CREATE DOMAIN fail_reason AS text CONSTRAINT fail_reason_check CHECK (octet_length(VALUE) BETWEEN 1 AND 64 AND VALUE ~ '^[A-Z]' AND VALUE !~ '[^A-Z0-9_]');
CREATE DOMAIN idempotency_key AS text COLLATE "C" CONSTRAINT idempotency_key_check CHECK (octet_length(VALUE) BETWEEN 1 AND 128 AND VALUE !~ '[^!-~]');
CREATE DOMAIN try_count AS int CONSTRAINT try_count_check CHECK (VALUE >= 0);
CREATE DOMAIN saga_step AS text CONSTRAINT saga_step_check CHECK (VALUE IN ('DECREASE', 'CANCEL', 'VOID'));
CREATE DOMAIN event_type AS text CONSTRAINT event_type_check CHECK (VALUE IN ('STOCK_DECREASE'));
CREATE DOMAIN outbox_status AS text CONSTRAINT outbox_status_check CHECK (VALUE IN ('PENDING', 'SENT', 'FAILED', 'DEAD'));
CREATE DOMAIN error_text AS text CONSTRAINT error_text_check CHECK (char_length(VALUE) <= 500);
CREATE DOMAIN trace_context AS text CONSTRAINT trace_context_check CHECK (char_length(VALUE) <= 200);

ALTER TABLE orders
    DROP CONSTRAINT orders_product_id_check, ALTER product_id TYPE product_id,
    DROP CONSTRAINT orders_buyer_id_check, ALTER buyer_id TYPE buyer_id,
    DROP CONSTRAINT orders_quantity_check, ALTER quantity TYPE ordered_units,
    DROP CONSTRAINT orders_status_check, ALTER status TYPE order_status,
    DROP CONSTRAINT orders_fail_reason_check, ALTER fail_reason TYPE fail_reason,
    DROP CONSTRAINT orders_flow_check, ALTER flow TYPE order_flow,
    DROP CONSTRAINT orders_attempt_check, ALTER attempt TYPE try_count,
    DROP CONSTRAINT orders_idempotency_key_check, ALTER idempotency_key TYPE idempotency_key;

ALTER TABLE saga
    DROP CONSTRAINT saga_order_id_check, ALTER order_id TYPE order_id,
    DROP CONSTRAINT saga_attempt_check, ALTER attempt TYPE try_count,
    DROP CONSTRAINT saga_step_check, ALTER step TYPE saga_step,
    DROP CONSTRAINT saga_tries_check, ALTER tries TYPE try_count,
    DROP CONSTRAINT saga_last_error_check, ALTER last_error TYPE error_text,
    DROP CONSTRAINT saga_trace_context_check, ALTER trace_context TYPE trace_context;

ALTER TABLE outbox
    DROP CONSTRAINT outbox_order_id_check, ALTER order_id TYPE order_id,
    DROP CONSTRAINT outbox_attempt_check, ALTER attempt TYPE try_count,
    DROP CONSTRAINT outbox_event_type_check, ALTER event_type TYPE event_type,
    DROP CONSTRAINT outbox_status_check, ALTER status TYPE outbox_status,
    DROP CONSTRAINT outbox_attempts_check, ALTER attempts TYPE try_count,
    DROP CONSTRAINT outbox_last_error_check, ALTER last_error TYPE error_text,
    DROP CONSTRAINT outbox_trace_context_check, ALTER trace_context TYPE trace_context;
