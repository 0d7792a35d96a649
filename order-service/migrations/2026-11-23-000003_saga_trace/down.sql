ALTER TABLE saga DROP COLUMN trace_context;
