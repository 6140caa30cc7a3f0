"""Backups as files: their folder, the manifest beside each, and the encrypted container."""
