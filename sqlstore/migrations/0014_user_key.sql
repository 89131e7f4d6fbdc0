-- With which keys users are sealed is asked before anything is sealed, and before a service lets anybody log in.
create index user_key on "user" (key_id);
