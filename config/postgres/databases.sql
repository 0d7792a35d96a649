-- One database per service: neither service can look into the other's. Run once, by the container of Postgres, when its
-- volume is empty. The passwords are for this machine only: the ports are published on loopback.
CREATE DATABASE product;
CREATE DATABASE orders;
\connect product
\i /rights.sql
\connect orders
\i /rights.sql
ALTER ROLE product_owner PASSWORD 'product-owner';
ALTER ROLE product_app PASSWORD 'product-app';
ALTER ROLE orders_owner PASSWORD 'orders-owner';
ALTER ROLE orders_app PASSWORD 'orders-app';
