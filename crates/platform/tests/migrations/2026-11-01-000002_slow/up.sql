-- Slower than the statement time-out of the test's pool, so that a run under that time-out would fail, and slow
-- enough for several instances to meet.
SELECT pg_sleep(0.5);
INSERT INTO things VALUES (1);
