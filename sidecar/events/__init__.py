"""Events: one record for each request, and the spool that carries it from worker to control process."""
