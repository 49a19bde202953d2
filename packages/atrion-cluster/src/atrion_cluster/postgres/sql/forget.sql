-- Lets some of what is too old go; ages in seconds. A few at a time, passing over what others are at.
WITH vectors AS (
    DELETE FROM atrion_vector
    WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM atrion_vector
        WHERE namespace = %(namespace)s AND kept_at < clock_timestamp() - make_interval(secs => %(keep)s)
        LIMIT 1000 FOR UPDATE SKIP LOCKED
    ))
)
DELETE FROM atrion_history
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM atrion_history
    WHERE namespace = %(namespace)s AND kept_at < clock_timestamp() - make_interval(secs => %(history)s)
    LIMIT 10000 FOR UPDATE SKIP LOCKED
))
