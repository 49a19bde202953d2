-- The settings of a connection; patience in milliseconds.
SELECT set_config('statement_timeout', %(patience)s, false),
       set_config('lock_timeout', %(patience)s, false),
       set_config('idle_in_transaction_session_timeout', %(patience)s, false),
       set_config('application_name', 'atrion', false)
