-- The vector of one route.
SELECT resistance, momentum, scar_tissue, stamp
FROM atrion_vector
WHERE namespace = %(namespace)s AND route = %(route)s
