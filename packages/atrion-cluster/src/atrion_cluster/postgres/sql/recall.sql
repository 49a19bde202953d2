-- The most scarred routes, with their ages in seconds by this server's clock; never negative, and nothing older than
-- longest (seconds). Names beyond longest_name bytes are nobody's.
SELECT route, resistance, momentum, scar_tissue, stamp,
       greatest(extract(epoch FROM clock_timestamp() - kept_at), 0)::float8 AS age
FROM atrion_vector
WHERE namespace = %(namespace)s
  AND kept_at > clock_timestamp() - make_interval(secs => %(longest)s)
  AND octet_length(route) <= %(longest_name)s
  AND scar_tissue < 'infinity'
ORDER BY scar_tissue DESC
LIMIT %(limit)s
