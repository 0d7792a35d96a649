ALTER TABLE saga ADD COLUMN trace_context text CHECK (char_length(trace_context) <= 200);
COMMENT ON COLUMN saga.trace_context IS 'W3C traceparent of the request that made the step necessary, sent along with what is asked for it.';
