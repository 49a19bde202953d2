-- The last vectors of one route, newest first, with their ages in seconds by this server's clock.
SELECT resistance, momentum, scar_tissue, stamp,
       greatest(extract(epoch FROM clock_timestamp() - kept_at), 0)::float8 AS age
FROM atrion_history
WHERE namespace = %(namespace)s AND route = %(route)s
ORDER BY kept_at DESC
LIMIT %(limit)s
