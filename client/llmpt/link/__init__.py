"""Between a program and the machine's agent: the messages of their socket, where it lies, and how an agent is started.

It runs in the user's process and in the agent's. Standard library only.
"""
