"""nginx: with Lua and one look-up in Redis for each request, and with `auth_request` to a checker."""

from __future__ import annotations

import shutil
import subprocess
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from benchmarks.peers.checker import Checker
from benchmarks.peers.keystore import KeyStore
from benchmarks.peers.peer import HUB_KEY, Peer, Site

MODULES = Path("/usr/lib/nginx/modules")
LUA_LIBRARY = Path("/usr/share/lua/5.1")

_CONFIGURATION = """
{modules}
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log error;
{user}
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/unused;
  uwsgi_temp_path {directory}/unused;
  scgi_temp_path {directory}/unused;
  client_max_body_size 0;
  keepalive_requests 1000000000;
  {http}
  upstream hub {{ server {hub}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      {check}
      proxy_pass http://hub;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header Authorization "Bearer {hub_key}";
      proxy_buffering {buffering};
      proxy_request_buffering off;
    }}
    {server}
  }}
}}
"""

_LUA_CHECK = """
access_by_lua_block {{
  local key = ngx.var.http_authorization and ngx.var.http_authorization:match("^Bearer (%S+)$")
  if not key then return ngx.exit(401) end
  local name = "key:" .. to_hex(ngx.sha1_bin(key))
  local store = ngx.socket.tcp()
  store:settimeout(250)
  if not store:connect("unix:{socket}") then return ngx.exit(503) end
  store:send("*2\\r\\n$6\\r\\nEXISTS\\r\\n$" .. #name .. "\\r\\n" .. name .. "\\r\\n")
  local reply = store:receive()
  store:setkeepalive(60000, 128)
  if reply ~= ":1" then return ngx.exit(401) end
}}
"""

_LUA_BEGIN = """
lua_package_path "{library}/?.lua;;";
lua_socket_log_errors off;
init_by_lua_block {{
  local digits = {{}}
  for i = 0, 255 do digits[string.char(i)] = string.format("%02x", i) end
  function to_hex(bytes) return (bytes:gsub(".", digits)) end
}}
"""

_AUTH_REQUEST = """
location = /check {{
  internal;
  proxy_pass http://checker;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_pass_request_body off;
  proxy_set_header Content-Length "";
}}
"""


class Nginx(Peer):
    """What both have in common."""

    def missing(self) -> str:
        return "" if program() else "nginx is not installed; Debian has it as the package nginx"

    def launch(self) -> None:
        configuration = self.directory / "nginx.conf"
        values = {"directory": self.directory, "hub": self.hub, "port": self.port, "hub_key": HUB_KEY, "buffering": "off"}
        user = f"user {Path.home().owner()};" if Path.home().owner() == "root" else ""
        parts = {"modules": "", "http": "", "check": "", "server": "", "user": user} | self.parts()
        configuration.write_text(_CONFIGURATION.format(**values, **parts))
        self.processes.start(
            "nginx", [program(), "-p", str(self.directory), "-c", str(configuration), "-e", str(self.directory / "error.log")]
        )

    @abstractmethod
    def parts(self) -> dict[str, str]:
        """What differs: `modules`, and the lines of `http`, `server` and `check`, inside the location. Starts the helpers."""


class NginxLua(Nginx):
    """A key check in the proxy itself."""

    name: ClassVar[str] = "nginx-lua"
    title: ClassVar[str] = "nginx, Lua and Redis each request"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._store = KeyStore(self.processes, self.directory)

    def missing(self) -> str:
        if missing := super().missing():
            return missing
        there = (MODULES / "ngx_http_lua_module.so").exists() or "lua" in _build()
        return "" if there else "nginx has no Lua; Debian has it as the package libnginx-mod-http-lua"

    def parts(self) -> dict[str, str]:
        self._store.start(self.key)
        modules = [MODULES / "ndk_http_module.so", MODULES / "ngx_http_lua_module.so"]
        return {
            "modules": "\n".join(f"load_module {path};" for path in modules if path.exists()),
            "http": _LUA_BEGIN.format(library=LUA_LIBRARY),
            "check": _LUA_CHECK.format(socket=self._store.socket),
        }


class NginxAuthRequest(Nginx):
    """A key check by a program beside it."""

    name: ClassVar[str] = "nginx-auth"
    title: ClassVar[str] = "nginx auth_request, Python checker"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._checker = Checker(self.processes)

    def parts(self) -> dict[str, str]:
        self._checker.start(self.key)
        server = f"server 127.0.0.1:{self._checker.port};"
        return {
            "http": f"upstream checker {{ {server} keepalive 256; keepalive_requests 1000000000; }}",
            "check": "auth_request /check;",
            "server": _AUTH_REQUEST.format(),
        }


def program() -> str:
    """The path of nginx, which Debian keeps out of a user's PATH; empty when it is not there."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin") or ""


def _build() -> str:
    return subprocess.run([program(), "-V"], capture_output=True, text=True, check=False).stderr
