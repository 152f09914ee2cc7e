"""Do the tests notice when the code is wrong? `make mutants` changes it in small ways, and has them look.

Cosmic Ray makes the changes; this package chooses among them, and runs for each the tests that concern the changed module.
"""
