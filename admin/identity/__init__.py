"""Who is asking the admin API: tokens, OpenID Connect, sessions, an identity proxy."""
