"""Who a server is: its key, what it signs, and what this machine knows of it. Needs `cryptography`, when it is used."""
