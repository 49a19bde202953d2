-- What must be known before anything else; snapshot is the first transaction that may still be under way.
SELECT current_setting('server_version_num')::int AS version,
       pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS read_only,
       to_regclass('atrion_migration') IS NOT NULL AS migrated,
       pg_snapshot_xmin(pg_current_snapshot())::text AS snapshot
