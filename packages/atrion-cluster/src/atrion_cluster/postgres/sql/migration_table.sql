-- Which files of migrations/ were applied, by the number that their names begin with.
CREATE TABLE IF NOT EXISTS atrion_migration (
    version    int         PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
