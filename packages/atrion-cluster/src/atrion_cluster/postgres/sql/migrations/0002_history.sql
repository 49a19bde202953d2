-- Every vector that was kept, where a retention was asked for; units as in atrion_vector.
CREATE TABLE atrion_history (
    namespace   text        NOT NULL,
    route       text        NOT NULL,
    resistance  float8      NOT NULL,
    momentum    float8      NOT NULL,
    scar_tissue float8      NOT NULL,
    stamp       float8      NOT NULL,
    kept_at     timestamptz NOT NULL
);

CREATE INDEX atrion_history_route ON atrion_history (namespace, route, kept_at);
CREATE INDEX atrion_history_kept_at ON atrion_history USING brin (kept_at);
