"""Authentication of admins: tokens, OpenID Connect, sessions and an identity proxy."""
