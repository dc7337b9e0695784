"""The admin API under /admin/v1: declared in `endpoints.py`, called through `dispatch.py`, done in `resources/`."""
