"""The hub's side: connections of our own on llhttp (httptools), a pool of them, no retries."""
