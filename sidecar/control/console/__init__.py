"""The console: pages for people over the same calls as the admin API.

Every page is made on the server and works without JavaScript; what changes something is a form that
ends in the API's own handler, so there is one way to create, rotate or revoke a key, and one audit log.
"""
