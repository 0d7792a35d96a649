ALTER TABLE orders
    ADD COLUMN attempt         int  NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    ADD COLUMN idempotency_key text CHECK (idempotency_key ~ '^[!-~]{1,128}$');
COMMENT ON COLUMN orders.attempt IS 'How often an operator has sent it again. Part of the keys of its effects: DEC-{id} at first, then DEC-{id}-{attempt}.';
COMMENT ON COLUMN orders.idempotency_key IS 'The client''s key of the request that made it: a second request with it gets this order. Null: none was given.';
COMMENT ON COLUMN orders.id IS 'Also part of the keys of its effects on stock: DEC-{id} takes, INC-{id} gives back. With the attempt behind it for retries.';

CREATE UNIQUE INDEX orders_idempotency_key ON orders (idempotency_key) WHERE idempotency_key IS NOT NULL;
COMMENT ON INDEX orders_idempotency_key IS 'One order per key.';

CREATE INDEX orders_status ON orders (status, id DESC);
COMMENT ON INDEX orders_status IS 'The orders of a status, newest first.';

DROP INDEX orders_pending;

CREATE TABLE saga (
    order_id     bigint      NOT NULL CHECK (order_id >= 1),
    attempt      int         NOT NULL CHECK (attempt >= 0),
    step         text        NOT NULL CHECK (step IN ('DECREASE', 'CANCEL', 'VOID')),
    tries        int         NOT NULL DEFAULT 0 CHECK (tries >= 0),
    next_try_at  timestamptz NOT NULL,
    last_error   text        CHECK (char_length(last_error) <= 500),
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, attempt)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

COMMENT ON TABLE saga IS 'One row per step that is still to be done, written in the same transaction as the status that makes it necessary and deleted in the one that makes it done. An order at rest has none. No foreign key: the order is written by the same statement, and orders are never deleted.';
COMMENT ON COLUMN saga.order_id IS 'The order.';
COMMENT ON COLUMN saga.attempt IS 'Which of its attempts: with the order''s id the key of the effect.';
COMMENT ON COLUMN saga.step IS 'DECREASE: take the stock of a PENDING order. CANCEL: give back the stock of a CONFIRMED one, then it is CANCELLED. VOID: give up for good what a failed attempt may have taken.';
COMMENT ON COLUMN saga.tries IS 'How often the recovery worker has taken it up.';
COMMENT ON COLUMN saga.next_try_at IS 'Nobody takes it up before: a lease for whoever is at it, then the pause until the next try.';
COMMENT ON COLUMN saga.last_error IS 'Why the last try did not do it.';
COMMENT ON COLUMN saga.created_at IS 'Since when it is to be done.';

CREATE INDEX saga_due ON saga (next_try_at);
COMMENT ON INDEX saga_due IS 'What the recovery worker takes up next.';

CREATE TABLE outbox (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id        bigint      NOT NULL CHECK (order_id >= 1),
    attempt         int         NOT NULL CHECK (attempt >= 0),
    event_type      text        NOT NULL CHECK (event_type IN ('STOCK_DECREASE')),
    payload         text        NOT NULL,
    status          text        NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'SENT', 'FAILED', 'DEAD')),
    attempts        int         NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_error      text        CHECK (char_length(last_error) <= 500),
    created_at      timestamptz NOT NULL DEFAULT now(),
    sent_at         timestamptz,
    trace_context   text        CHECK (char_length(trace_context) <= 200),
    CONSTRAINT outbox_sent_at CHECK ((status = 'SENT') = (sent_at IS NOT NULL)),
    CONSTRAINT outbox_once UNIQUE (order_id, attempt)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

COMMENT ON TABLE outbox IS 'Messages stored with the change they tell of. The relay publishes them; SENT only when the broker has confirmed and not returned it.';
COMMENT ON COLUMN outbox.id IS 'Identity.';
COMMENT ON COLUMN outbox.order_id IS 'The order it is about.';
COMMENT ON COLUMN outbox.attempt IS 'Which of its attempts.';
COMMENT ON COLUMN outbox.event_type IS 'What it asks for.';
COMMENT ON COLUMN outbox.payload IS 'The message, JSON.';
COMMENT ON COLUMN outbox.status IS 'PENDING: to be published. SENT: the broker has it. FAILED: publishing failed, tried again at next_attempt_at. DEAD: given up.';
COMMENT ON COLUMN outbox.attempts IS 'How often publishing failed.';
COMMENT ON COLUMN outbox.next_attempt_at IS 'Not published before.';
COMMENT ON COLUMN outbox.last_error IS 'Why publishing failed last.';
COMMENT ON COLUMN outbox.created_at IS 'When it was stored.';
COMMENT ON COLUMN outbox.sent_at IS 'When the broker confirmed it.';
COMMENT ON COLUMN outbox.trace_context IS 'W3C traceparent of the request that caused it, sent along as a header.';
COMMENT ON INDEX outbox_once IS 'One message per attempt of an order.';

CREATE INDEX outbox_due ON outbox (next_attempt_at) WHERE status IN ('PENDING', 'FAILED');
COMMENT ON INDEX outbox_due IS 'What the relay takes next. Small: rows leave it when they are sent.';

CREATE INDEX outbox_sent ON outbox (sent_at) WHERE status = 'SENT';
COMMENT ON INDEX outbox_sent IS 'What is old enough to be purged.';

CREATE INDEX outbox_status ON outbox (status, id DESC) WHERE status <> 'SENT';
COMMENT ON INDEX outbox_status IS 'The messages of a status, newest first, for operators.';
