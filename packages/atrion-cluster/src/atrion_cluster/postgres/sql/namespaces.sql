-- sql/namespaces.sql
-- How many namespaces have kept a vector within longest (seconds), and whether this one has kept any at all. The first
-- 1000 names are looked at, each found by one step in the primary key.
WITH RECURSIVE name AS (
    (SELECT namespace, 1 AS number FROM atrion_vector ORDER BY namespace LIMIT 1)
    UNION ALL
    SELECT next.namespace, name.number + 1
    FROM name
    CROSS JOIN LATERAL (
        SELECT namespace FROM atrion_vector WHERE namespace > name.namespace ORDER BY namespace LIMIT 1
    ) AS next
    WHERE name.number < 1000
)
SELECT count(*) FILTER (WHERE EXISTS (
           SELECT FROM atrion_vector AS v
           WHERE v.namespace = name.namespace AND v.kept_at > clock_timestamp() - make_interval(secs => %(longest)s)
       ) OR name.namespace = %(namespace)s)::int                                          AS clusters,
       EXISTS (SELECT FROM atrion_vector WHERE namespace = %(namespace)s)                 AS known
FROM name
