ALTER TABLE products ADD COLUMN version bigint NOT NULL DEFAULT 1 CHECK (version >= 1);
COMMENT ON COLUMN products.version IS 'Counts changes of everything but stock: +1 each, in the UPDATE itself. A client that says which version it has seen changes no other.';
