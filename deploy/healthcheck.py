"""Exit with status 0 if the site answers `GET /health` on this machine. The image's HEALTHCHECK runs this."""

import http.client
import sys

from telemetry_site import env

ANSWER_SECONDS = 4
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (compared, not listened on)


def main() -> int:
    host = env.text("HOST", "127.0.0.1").strip("[]")
    port = env.integer("PORT", 8000, least=1, most=65535)
    # The site refuses and counts a request with an unknown host. `.example.org` allows subdomains, `*` every host.
    known_host = env.words("ALLOWED_HOSTS", ["localhost"])[0].lstrip(".").replace("*", "localhost")
    env.refuse_faults()
    connection = http.client.HTTPConnection(WILDCARDS.get(host, host), port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/health", headers={"Host": known_host})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"GET /health failed: {error}\n")
        return 1
    if status != http.client.OK:
        sys.stderr.write(f"GET /health answered {status}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
