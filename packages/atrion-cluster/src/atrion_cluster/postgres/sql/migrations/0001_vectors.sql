-- The last vector of each route. resistance and scar_tissue in ohms, momentum per second, stamp in seconds of the
-- writer's own clock (returned as it came). kept_at is this server's clock: ages come from it alone. changed is the
-- transaction that wrote the row, so that a listener who remembers a snapshot misses nothing.
CREATE TABLE atrion_vector (
    namespace   text        NOT NULL,
    route       text        NOT NULL,
    resistance  float8      NOT NULL,
    momentum    float8      NOT NULL,
    scar_tissue float8      NOT NULL,
    stamp       float8      NOT NULL,
    kept_at     timestamptz NOT NULL,
    changed     xid8        NOT NULL,
    PRIMARY KEY (namespace, route)
) WITH (fillfactor = 70);

CREATE INDEX atrion_vector_changed ON atrion_vector (namespace, changed);
