-- How far the history of a namespace reaches back: the age in seconds, by this server's clock, of the oldest vector of
-- the first 1000 routes, each found by one step in an index; NULL without any. Nothing is older than longest (seconds).
SELECT max(greatest(extract(epoch FROM clock_timestamp() - first.kept_at), 0))::float8 AS age
FROM (SELECT route FROM atrion_vector WHERE namespace = %(namespace)s ORDER BY route LIMIT 1000) AS v
CROSS JOIN LATERAL (
    SELECT kept_at
    FROM atrion_history AS h
    WHERE h.namespace = %(namespace)s AND h.route = v.route
      AND h.kept_at > clock_timestamp() - make_interval(secs => %(longest)s)
    ORDER BY kept_at
    LIMIT 1
) AS first
