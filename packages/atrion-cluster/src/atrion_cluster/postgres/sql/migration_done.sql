-- Notes that a migration was applied.
INSERT INTO atrion_migration (version) VALUES (%(version)s)
