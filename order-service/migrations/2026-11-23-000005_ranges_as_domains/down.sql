ALTER TABLE outbox
    ALTER order_id TYPE bigint, ADD CONSTRAINT outbox_order_id_check CHECK (order_id >= 1),
    ALTER attempt TYPE int, ADD CONSTRAINT outbox_attempt_check CHECK (attempt >= 0),
    ALTER event_type TYPE text, ADD CONSTRAINT outbox_event_type_check CHECK (event_type IN ('STOCK_DECREASE')),
    ALTER status TYPE text, ADD CONSTRAINT outbox_status_check CHECK (status IN ('PENDING', 'SENT', 'FAILED', 'DEAD')),
    ALTER attempts TYPE int, ADD CONSTRAINT outbox_attempts_check CHECK (attempts >= 0),
    ALTER last_error TYPE text, ADD CONSTRAINT outbox_last_error_check CHECK (char_length(last_error) <= 500),
    ALTER trace_context TYPE text, ADD CONSTRAINT outbox_trace_context_check CHECK (char_length(trace_context) <= 200);

ALTER TABLE saga
    ALTER order_id TYPE bigint, ADD CONSTRAINT saga_order_id_check CHECK (order_id >= 1),
    ALTER attempt TYPE int, ADD CONSTRAINT saga_attempt_check CHECK (attempt >= 0),
    ALTER step TYPE text, ADD CONSTRAINT saga_step_check CHECK (step IN ('DECREASE', 'CANCEL', 'VOID')),
    ALTER tries TYPE int, ADD CONSTRAINT saga_tries_check CHECK (tries >= 0),
    ALTER last_error TYPE text, ADD CONSTRAINT saga_last_error_check CHECK (char_length(last_error) <= 500),
    ALTER trace_context TYPE text, ADD CONSTRAINT saga_trace_context_check CHECK (char_length(trace_context) <= 200);

ALTER TABLE orders
    ALTER product_id TYPE bigint, ADD CONSTRAINT orders_product_id_check CHECK (product_id >= 1),
    ALTER buyer_id TYPE text, ADD CONSTRAINT orders_buyer_id_check CHECK (char_length(buyer_id) BETWEEN 1 AND 64),
    ALTER quantity TYPE bigint, ADD CONSTRAINT orders_quantity_check CHECK (quantity BETWEEN 1 AND 1000000),
    ALTER status TYPE text, ADD CONSTRAINT orders_status_check CHECK (status IN ('PENDING', 'CONFIRMED', 'CANCELLED', 'FAILED')),
    ALTER fail_reason TYPE text,
    ADD CONSTRAINT orders_fail_reason_check
        CHECK (octet_length(fail_reason) BETWEEN 1 AND 64 AND fail_reason ~ '^[A-Z]' AND fail_reason !~ '[^A-Z0-9_]'),
    ALTER flow TYPE text, ADD CONSTRAINT orders_flow_check CHECK (flow IN ('SYNC', 'ASYNC')),
    ALTER attempt TYPE int, ADD CONSTRAINT orders_attempt_check CHECK (attempt >= 0),
    ALTER idempotency_key TYPE text,
    ADD CONSTRAINT orders_idempotency_key_check
        CHECK (octet_length(idempotency_key) BETWEEN 1 AND 128 AND idempotency_key !~ '[^!-~]');

DROP DOMAIN order_id, product_id, buyer_id, ordered_units, order_status, order_flow, fail_reason, idempotency_key, try_count,
    saga_step, event_type, outbox_status, error_text, trace_context;
