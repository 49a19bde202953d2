-- Keeps a batch of vectors, and wakes the listeners when it is committed. Parallel arrays: routes (names as text),
-- resistances and scars (ohms), momenta (per second), stamps (seconds, as they came). Rows are locked in the order of
-- their names, so that two batches cannot wait for each other.
WITH given AS (
    SELECT route, resistance, momentum, scar_tissue, stamp
    FROM unnest(%(routes)s::text[], %(resistances)s::float8[], %(momenta)s::float8[], %(scars)s::float8[],
                %(stamps)s::float8[]) AS given (route, resistance, momentum, scar_tissue, stamp)
    ORDER BY route
), kept AS (
    INSERT INTO atrion_vector (namespace, route, resistance, momentum, scar_tissue, stamp, kept_at, changed)
    SELECT %(namespace)s, route, resistance, momentum, scar_tissue, stamp, clock_timestamp(), pg_current_xact_id()
    FROM given
    ON CONFLICT (namespace, route) DO UPDATE
    SET resistance = excluded.resistance, momentum = excluded.momentum, scar_tissue = excluded.scar_tissue,
        stamp = excluded.stamp, kept_at = excluded.kept_at, changed = excluded.changed
), past AS (
    INSERT INTO atrion_history (namespace, route, resistance, momentum, scar_tissue, stamp, kept_at)
    SELECT %(namespace)s, route, resistance, momentum, scar_tissue, stamp, clock_timestamp()
    FROM given
    WHERE %(history)s
)
SELECT pg_notify(%(channel)s, '')
