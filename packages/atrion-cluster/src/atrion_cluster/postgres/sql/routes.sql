-- Names of routes.
SELECT route
FROM atrion_vector
WHERE namespace = %(namespace)s AND octet_length(route) <= %(longest_name)s
LIMIT %(limit)s
