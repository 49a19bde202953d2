-- The vectors of one route between two ages (seconds by this server's clock), oldest first: of each step (seconds) the
-- last one.
SELECT DISTINCT ON (floor(age / %(step)s)) resistance, momentum, scar_tissue, stamp, age
FROM (
    SELECT resistance, momentum, scar_tissue, stamp,
           greatest(extract(epoch FROM clock_timestamp() - kept_at), 0)::float8 AS age
    FROM atrion_history
    WHERE namespace = %(namespace)s AND route = %(route)s
      AND kept_at BETWEEN clock_timestamp() - make_interval(secs => %(oldest)s)
                      AND clock_timestamp() - make_interval(secs => %(newest)s)
) AS past
ORDER BY floor(age / %(step)s) DESC, age
LIMIT %(limit)s
