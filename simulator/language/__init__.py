"""The functions of `nki.language`, by what they are about."""
