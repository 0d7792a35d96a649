-- Rights in one database, by role. Run once in it, as a superuser, before the first migration; `cargo dev up` and the
-- container do. Two roles, named after the database: DATABASE_owner has the tables and migrates (database.owner_url),
-- DATABASE_app is what a service works with (database.url). The latter may read and write rows and nothing else: no table
-- is made, changed, dropped or truncated with it, the ledger's triggers, which let rows be added only, are not its to
-- remove, and which migrations were made it may only read. They log in once they are given passwords.
DO $$
DECLARE
    owner text := current_database() || '_owner';
    app   text := current_database() || '_app';
    role  text;
    made  regclass;
BEGIN
    FOREACH role IN ARRAY ARRAY[owner, app] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', role);
        END IF;
    END LOOP;
    EXECUTE format('ALTER DATABASE %I OWNER TO %I', current_database(), owner);
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), app);
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
    EXECUTE format('GRANT ALL ON SCHEMA public TO %I', owner);
    EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', app);
    -- Of whatever the migrations make from now on. TRUNCATE, REFERENCES and TRIGGER are left out.
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I', owner, app);
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA public GRANT USAGE ON SEQUENCES TO %I', owner, app);
    -- What was migrated is the owner's to say: made here as the migrations would, so that it is not among what they make.
    CREATE TABLE IF NOT EXISTS public.__diesel_schema_migrations (
        version varchar(50) PRIMARY KEY NOT NULL,
        run_on  timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
    );
    -- Of what was there before.
    FOR made IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO %I', made, owner);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE %s TO %I', made, app);
    END LOOP;
    EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON TABLE public.__diesel_schema_migrations FROM %I', app);
    -- Those of identity columns belong to whoever has the table.
    FOR made IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S' LOOP
        EXECUTE format('GRANT USAGE ON SEQUENCE %s TO %I', made, app);
    END LOOP;
END $$;
