"""The announcer's UDP (BEP 15): datagrams, connection ids, and the front end."""
