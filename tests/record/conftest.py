from production import night, no_secrets_left, rehearsal  # noqa: F401
