"""What Cloudflare answers for the hostnames, whatever their services do: declared here, and checked from outside."""

REDIRECT_STATUS = 308
"""From http to https. It keeps the request's method."""

SECURITY_HEADERS = {
    # One year. Without includeSubDomains: other names of the zone are not this stack's.
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Headers of every response, whatever the service set."""
FRAMES = ("Content-Security-Policy", "frame-ancestors 'self'")
"""Added to a policy of the service's own: browsers apply both."""

ADMIN_PATH = "admin"
"""Payload's and Django's, and everything below it: behind Access."""
