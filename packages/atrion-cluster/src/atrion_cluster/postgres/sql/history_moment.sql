-- The vector that each route had at an age (seconds by this server's clock), with how old it is now. One step in an index
-- for each route. Names beyond longest_name bytes are nobody's.
SELECT v.route, past.resistance, past.momentum, past.scar_tissue, past.stamp,
       greatest(extract(epoch FROM clock_timestamp() - past.kept_at), 0)::float8 AS age
FROM (
    SELECT route
    FROM atrion_vector
    WHERE namespace = %(namespace)s AND octet_length(route) <= %(longest_name)s
    ORDER BY route
    LIMIT %(limit)s
) AS v
CROSS JOIN LATERAL (
    SELECT resistance, momentum, scar_tissue, stamp, kept_at
    FROM atrion_history AS h
    WHERE h.namespace = %(namespace)s AND h.route = v.route
      AND h.kept_at <= clock_timestamp() - make_interval(secs => %(age)s)
    ORDER BY kept_at DESC
    LIMIT 1
) AS past
