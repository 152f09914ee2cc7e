"""Attacks, carried out against the real parts; the files are called after the attacker. docs/threats.md lists what each holds."""
