-- What may have changed since a snapshot among some routes (NULL: among all), and the snapshot to ask from next time. A
-- transaction that was under way then may have committed since: whoever asks must expect to be told of a change again.
-- Names beyond longest_name bytes are nobody's.
WITH now AS (
    SELECT pg_snapshot_xmin(pg_current_snapshot()) AS snapshot
)
SELECT now.snapshot::text, v.route, v.changed::text, v.resistance, v.momentum, v.scar_tissue, v.stamp
FROM now
LEFT JOIN atrion_vector AS v
    ON v.namespace = %(namespace)s AND v.changed >= %(since)s::xid8
        AND (%(routes)s::text[] IS NULL OR v.route = ANY(%(routes)s::text[]))
        AND octet_length(v.route) <= %(longest_name)s
