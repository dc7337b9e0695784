"""What a client may send to pose as somebody else; nothing of it may reach the hub."""

SPOOFED = [
    "X-User-Did: admin", "x_user_did: admin", "X-User-Role: admin", "x_user_role: admin", "X-Connected-Did: admin", "X-App-Id: admin",
    "X-App-User-Did: admin", "X-Component-Did: admin", "X-Component-Sig: admin", "X-Blocklet-Did: admin", "X-Access-Blocklet: admin",
    "X-Path-Prefix: /admin", "X-Group-Path-Prefix: /admin", "X-Page-Group: admin", "X-Routing-Rule-Id: admin", "X-Real-Ip: 6.6.6.6",
    "X-Real-Hostname: admin", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: admin", "Forwarded: for=6.6.6.6", "X-Original-Url: /admin",
    "X-Rewrite-Url: /admin", "X-Http-Method-Override: DELETE", "X-Aigne-Hub-Client-Did: admin", "X-Request-Id: admin", "X-Csrf-Token: admin",
    "X-Amz-Cf-Id: admin", "Arcwallet-Version: admin", "Cookie: login_token=admin; connected_did=admin", "Proxy-Authorization: Basic admin",
    "X-Timestamp: admin", "Remote-User: admin", "X-Remote-User: admin", "X-Auth-Request-User: admin", "X-Original-Method: GET",
    "X-Original-Uri: /admin", "X-Forwarded-Method: GET", "X-Forwarded-Uri: /admin", "X-Sidecar-Target: /admin", "X-Sidecar-Answer: admin",
    "X-Something-Else: admin",
]  # fmt: skip
