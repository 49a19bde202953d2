-- One process migrates at a time; the key means nothing but this. Released with the transaction.
SELECT pg_advisory_xact_lock(4720260109007)
