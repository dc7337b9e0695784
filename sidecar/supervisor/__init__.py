"""The process tree: starts, restarts, reloads and ends the other processes, and holds their sockets. It carries no traffic."""
