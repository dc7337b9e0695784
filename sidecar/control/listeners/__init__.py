"""The sockets of the control process: who may connect, how long a client may take, what is answered to no request."""
