-- What a person who asks what is wrong should know; clock in seconds since 1970 by this server's clock.
SELECT current_setting('server_version')                                                AS version,
       current_setting('server_version_num')::int                                       AS version_number,
       pg_is_in_recovery() OR current_setting('transaction_read_only')::bool             AS read_only,
       current_user::text                                                               AS role,
       coalesce(current_schema()::text, '')                                             AS schema,
       current_setting('server_encoding')                                               AS encoding,
       extract(epoch FROM clock_timestamp())::float8                                    AS clock,
       to_regclass('atrion_migration') IS NOT NULL                                      AS migrated,
       coalesce(has_schema_privilege(current_schema()::text, 'CREATE'), false)          AS may_create,
       ARRAY(SELECT string_agg(privilege, ', ') || ' ON ' || name
             FROM unnest(ARRAY['atrion_vector', 'atrion_history']) AS name,
                  unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
             WHERE NOT coalesce(has_table_privilege(to_regclass(name), privilege), true)
             GROUP BY name)                                                             AS lacking,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS connections,
       current_setting('max_connections')::int                                          AS max_connections
