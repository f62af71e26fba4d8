"""Sample jobs that ship with the package."""
