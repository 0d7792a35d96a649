CREATE TABLE half (id bigint);
INSERT INTO nowhere VALUES (1);
