-- One database and one role per service: neither can look into the other's. Run once, by the container of Postgres,
-- when its volume is empty. The passwords are for this machine only: the ports are published on loopback.
CREATE ROLE product LOGIN PASSWORD 'product';
CREATE DATABASE product OWNER product;
REVOKE CONNECT ON DATABASE product FROM PUBLIC;

CREATE ROLE orders LOGIN PASSWORD 'orders';
CREATE DATABASE orders OWNER orders;
REVOKE CONNECT ON DATABASE orders FROM PUBLIC;
