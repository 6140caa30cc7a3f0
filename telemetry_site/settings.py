"""Django settings. docs/settings.md describes each environment variable; a missing one gets a strict default."""

import os
import secrets
import tempfile
from contextlib import suppress
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from telemetry_site import __version__, env
from telemetry_site.logs import FORMATTERS

# Only the owner may open the files that the site creates. Child processes and exec inherit the umask. SQLite gives
# -wal and -shm the mode of the database file.
os.umask(0o077)

VERSION = __version__
BASE_DIR = env.PROJECT_DIR
DATA_DIR = env.path("DATA_DIR", BASE_DIR / "var")
env.make_folder("DATA_DIR", DATA_DIR)
EPHEMERAL_DATA = env.flag("EPHEMERAL_DATA", False)
DEBUG = env.flag("DEBUG", False)
DEMO = env.flag("DEMO", False)


def _secret_key() -> str:
    """Return the site's key. The first start generates it into a file in DATA_DIR that only the owner can read."""
    if env.only_reads:
        return secrets.token_urlsafe(64)  # nothing is signed
    key_file = DATA_DIR / "secret_key"
    try:
        if not key_file.exists():
            # Write a temporary file, then link it: of two simultaneous first starts, the second reads a complete key.
            with tempfile.NamedTemporaryFile("w", dir=DATA_DIR, encoding="ascii") as file:
                file.write(secrets.token_urlsafe(64))
                file.flush()
                with suppress(FileExistsError):
                    os.link(file.name, key_file)
        return key_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise ImproperlyConfigured(f"  {str(key_file)!r} cannot be used: {reason}.") from None


SECRET_KEY = env.secret_text("SECRET_KEY", "") or _secret_key()

# --- backups -----------------------------------------------------------------------------------------------
BACKUP_DIR = env.path("BACKUP_DIR", DATA_DIR / "backups")
NIGHTLY_BACKUP = env.flag("NIGHTLY_BACKUP", True)
BACKUP_KEEP = env.rotation("BACKUP_KEEP", "7d4w")
BACKUP_PASSPHRASE = env.passphrase("BACKUP_PASSPHRASE", "", least=12)
BACKUP_URL = env.copy_target("BACKUP_URL")
BACKUP_S3_KEY_ID = env.secret_text("BACKUP_S3_KEY_ID", "")
BACKUP_S3_SECRET = env.secret_text("BACKUP_S3_SECRET", "")

# --- addresses and processes ----------------------------------------------------------------------------
HOST = env.text("HOST", "127.0.0.1").strip("[]")
PORT = env.integer("PORT", 8000, least=1, most=65535)
# Browsers cannot open a wildcard address.
_OWN_HOST = "localhost" if HOST in ("0.0.0.0", "::") else HOST  # noqa: S104 (compared, not listened on)
SITE_URL = env.origin("SITE_URL", f"http://{env.host_in_url(_OWN_HOST)}:{PORT}")
HTTPS = SITE_URL.startswith("https:")
WORKERS = env.integer("WORKERS", 1, least=1, most=64)
THREADS = env.integer("THREADS", 32, least=1, most=256)
TRUSTED_PROXY_COUNT = env.integer("TRUSTED_PROXY_COUNT", 0, least=0, most=10)
CONNECTIONS_PER_CLIENT = env.integer("CONNECTIONS_PER_CLIENT", 64, least=0, most=4096)
if TRUSTED_PROXY_COUNT:
    CONNECTIONS_PER_CLIENT = 0  # all connections come from the proxy
ALLOWED_HOSTS = env.words(
    "ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]", env.host_in_url(urlsplit(SITE_URL).hostname or HOST)]
)
ALLOWED_ORIGINS = env.origins(
    "ALLOWED_ORIGINS", ["https://xoniblue.github.io", "http://localhost:5173", "http://127.0.0.1:5173"]
)

# --- ingest ----------------------------------------------------------------------------------------------
MAX_BODY_BYTES = env.integer("MAX_BODY_BYTES", 131_072, least=1_024, most=16_777_216)
MAX_BATCH_BODY_BYTES = max(1_048_576, MAX_BODY_BYTES)
INGEST_RATE = env.rate("INGEST_RATE", "120/m")
BATCH_RATE = env.rate("BATCH_RATE", "12/m")
BATCH_EVENTS_RATE = env.rate("BATCH_EVENTS_RATE", "300/m")
READ_RATE = env.rate("READ_RATE", "600/m")
DAILY_BYTES_PER_CLIENT = env.size("DAILY_BYTES_PER_CLIENT", 33_554_432)
MIN_FREE_BYTES = env.size("MIN_FREE_BYTES", 1_073_741_824)
KNOWN_MODELS = env.names("KNOWN_MODELS", most=500, max_length=64)
# Keys of the metadata that are counted, in this order. Empty: none.
FACETS = env.keys("FACETS", ["browser", "os", "usb", "step"])
SOURCEMAP_MAX_BYTES = env.integer("SOURCEMAP_MAX_BYTES", 16_777_216, least=1_024, most=67_108_864)
SOURCEMAP_VERSIONS = env.integer("SOURCEMAP_VERSIONS", 20, least=1, most=10_000)
PUBLIC_STATS = env.flag("PUBLIC_STATS", False)
INGEST_TOKEN_REQUIRED = env.flag("INGEST_TOKEN_REQUIRED", False)
ADMIN_TOKEN = env.secret("ADMIN_TOKEN", "", least=24)
METRICS_TOKEN = env.secret("METRICS_TOKEN", "", least=24)
SOURCEMAP_WORKER = env.flag("SOURCEMAP_WORKER", True)
JOBS_WORKER = env.flag("JOBS_WORKER", True)
ADMIN_PASSWORD = env.secret_text("ADMIN_PASSWORD", "")

# --- retention -------------------------------------------------------------------------------------------
# None: the default of the database, which depends on whether the site is older than this setting.
RETENTION_DAYS = env.periods(
    "RETENTION_DAYS",
    kinds=("flash_success", "flash_error", "connect_error", "window_error", "unhandled_rejection", "imported"),
)
RETENTION_BYTES = env.size("RETENTION_BYTES", None)

# --- alerts ----------------------------------------------------------------------------------------------
ALERT_NEW_AFTER = env.integer("ALERT_NEW_AFTER", 3, least=1, most=1_000)
ALERT_SILENCE_HOURS = env.integer("ALERT_SILENCE_HOURS", 24, least=1, most=720)
ALERT_QUIET = env.hours("ALERT_QUIET")
ALERT_TIME_ZONE = env.time_zone("ALERT_TIME_ZONE", "UTC")

# --- issues ----------------------------------------------------------------------------------------------
# The form for a new issue, with {title} and {body} in its query; None without one.
ISSUE_URL = env.issue_form("ISSUE_URL")

# --- alerts: channels and mail ---------------------------------------------------------------------------
_MAIL_SERVER = env.mail_server("EMAIL_URL")
HAS_MAIL = _MAIL_SERVER is not None
if _MAIL_SERVER is not None:
    EMAIL_HOST, EMAIL_PORT, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD, EMAIL_USE_SSL, EMAIL_USE_TLS = _MAIL_SERVER
EMAIL_TIMEOUT = 20  # seconds, for each answer of the server
_MAIL_HOST = (urlsplit(SITE_URL).hostname or "localhost").strip("[]")
ALERT_FROM = env.mail_address("ALERT_FROM", f"Telemetry <telemetry@{_MAIL_HOST}>")
ALERT_SCHEMES = env.words("ALERT_SCHEMES", ["default"])
# Names, addresses and networks that are not public, each with a port or None.
ALERT_ALLOW_HOSTS = env.hosts("ALERT_ALLOW_HOSTS")

# --- the old routes ----------------------------------------------------------------------------------------
PARITY_DAYS = env.integer("PARITY_DAYS", 7, least=7, most=14)
SUNSET = env.day("SUNSET")

# --- Django --------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "telemetry_site.apps.TelemetrySite",
    "events",
    "legacy",
    "telemetry_site.apps.TelemetryAdmin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "corsheaders",
    "csp",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

# Middleware before PublicRoutes runs for every event. Middleware after it runs for pages only.
MIDDLEWARE = [
    "telemetry_site.middleware.ClientAddress",
    "telemetry_site.middleware.PublicRoutes",
    "telemetry_site.middleware.PageHeaders",
    "telemetry_site.middleware.PageInput",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "telemetry_site.middleware.StaffReads",
]

ROOT_URLCONF = "telemetry_site.urls"
PUBLIC_URLCONF = "telemetry_site.public_urls"
WSGI_APPLICATION = "telemetry_site.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
APPEND_SLASH = True  # for pages; public routes accept both forms

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            # No template needs {% load %} for these.
            "builtins": ["django.templatetags.static", "events.templatetags.telemetry"],
        },
    },
]

# --- the database: one SQLite file by default, PostgreSQL for several processes or machines -------------------
SQLITE_FILE = DATA_DIR / "telemetry.sqlite3"


def _first_statement() -> str:
    """Return the PRAGMA for a new database file: SQLite accepts auto_vacuum only before the first write.

    On an existing file the PRAGMA is a write. Every new connection, readers included, would wait for the writer.
    """
    is_new = not SQLITE_FILE.exists() or not SQLITE_FILE.stat().st_size
    return "PRAGMA auto_vacuum=INCREMENTAL;" if is_new else ""


def _sqlite() -> dict[str, Any]:
    if env.only_reads:
        # Without a write-ahead log, no process has the file open. SQLite would then create a log even to read, which
        # belongs to the user of the command, and the site could not write it. An `immutable` file needs none.
        mode = "mode=ro" if os.path.exists(f"{SQLITE_FILE}-wal") else "mode=ro&immutable=1"
        return {
            "ENGINE": "telemetry_site.sqlite",
            "NAME": f"file:{quote(str(SQLITE_FILE))}?{mode}",
            "OPTIONS": {"timeout": 2, "init_command": "PRAGMA query_only=ON"},
        }
    return {
        "ENGINE": "telemetry_site.sqlite",
        "NAME": SQLITE_FILE,
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 5,
            # WAL: readers do not wait for the writer. FULL: 201 means that the event is on disk.
            "init_command": f"{_first_statement()} PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        },
    }


_PRIMARY = env.database("DATABASE_URL")
if _PRIMARY is not None and not env.only_reads:  # a pool would hide why a command gets no connection
    # The pool doubles the pause between two attempts to connect until `reconnect_timeout`. With 1 s the pause stays at
    # 1 s, so the site finds a new primary soon.
    _PRIMARY["OPTIONS"]["pool"] = {"min_size": 2, "max_size": THREADS + 14, "timeout": 5, "reconnect_timeout": 1}
DATABASES: dict[str, dict[str, Any]] = {"default": _PRIMARY or _sqlite()}
_REPLICA = env.database("REPLICA_URL", writes=False)
HAS_REPLICA = _REPLICA is not None
if _REPLICA is not None and _PRIMARY is not None:
    # One connection for each thread that answers staff. A read soon falls back to the primary.
    _REPLICA["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 10, "timeout": 1, "reconnect_timeout": 1}
    DATABASES["replica"] = _REPLICA
    DATABASE_ROUTERS = ["events.replica.Router"]

# --- the rate limiter's cache: this process, or Redis -----------------------------------------------------------
CACHE_URL = env.cache_url("CACHE_URL")
SILENCED_SYSTEM_CHECKS = [
    # A redirect would lose a beacon's body. Only /admin/ is redirected (SECURE_REDIRECT_EXEMPT).
    "security.W008",
    # HSTS forbids plain HTTP to every visitor's browser until max-age ends. With subdomains or preload it covers the
    # whole domain. The domain's owner decides, with HSTS_SECONDS, HSTS_SUBDOMAINS and HSTS_PRELOAD.
    "security.W004",
    "security.W005",
    "security.W021",
]
_IN_PROCESS = {
    "BACKEND": "telemetry_site.process_cache.ProcessCache",
    "OPTIONS": {"MAX_ENTRIES": 100_000},
}
_IN_REDIS = {
    "BACKEND": "django.core.cache.backends.redis.RedisCache",
    "LOCATION": CACHE_URL,
    "OPTIONS": {"socket_connect_timeout": 0.25, "socket_timeout": 0.25},
}
CACHES = {
    "default": _IN_REDIS if CACHE_URL else _IN_PROCESS,
    "process": _IN_PROCESS | {"LOCATION": "process"},  # counts failed sign-ins while Redis is unreachable
}

RATELIMIT_FAIL_OPEN = True
# The defaults of django-ratelimit. Without them, each request takes 7 µs to find out that they are not set.
RATELIMIT_ENABLE = True
RATELIMIT_USE_CACHE = "default"
RATELIMIT_CACHE_PREFIX = "rl:"
RATELIMIT_HASH_ALGORITHM = sha256

# --- security --------------------------------------------------------------------------------------------------
# Browsers share cookies between the ports of a host. Each site has names of its own, so that two sites on one machine
# keep separate sessions. The names depend on SECRET_KEY, which all servers of one site share.
_SITE_HASH = salted_hmac("telemetry_site.cookie-names", "", secret=SECRET_KEY, algorithm="sha256").hexdigest()[:8]
SESSION_COOKIE_NAME = f"sessionid_{_SITE_HASH}"
CSRF_COOKIE_NAME = f"csrftoken_{_SITE_HASH}"
READS_PRIMARY_COOKIE_NAME = f"reads_primary_{_SITE_HASH}"
KNOWN_BROWSER_COOKIE_NAME = f"known_browser_{_SITE_HASH}"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 14 * 24 * 3600
CSRF_TRUSTED_ORIGINS = [SITE_URL]
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = HTTPS and TRUSTED_PROXY_COUNT > 0
SECURE_REDIRECT_EXEMPT = [r"^(?!admin/)"]
SECURE_HSTS_SECONDS = env.integer("HSTS_SECONDS", 0, least=0, most=63_072_000) if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.flag("HSTS_SUBDOMAINS", False)
SECURE_HSTS_PRELOAD = env.flag("HSTS_PRELOAD", False)
if TRUSTED_PROXY_COUNT:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
CSRF_FAILURE_VIEW = "telemetry_site.errors.csrf_failure"

# Default headers of every response: public routes, errors, static files, redirects. A view may set stricter ones.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Permissions-Policy": (
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), hid=(), magnetometer=(),"
        " microphone=(), midi=(), payment=(), serial=(), usb=()"
    ),
    "Referrer-Policy": SECURE_REFERRER_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": X_FRAME_OPTIONS,
}
if SECURE_HSTS_SECONDS:
    SECURITY_HEADERS["Strict-Transport-Security"] = (
        f"max-age={SECURE_HSTS_SECONDS}"
        + ("; includeSubDomains" if SECURE_HSTS_INCLUDE_SUBDOMAINS else "")
        + ("; preload" if SECURE_HSTS_PRELOAD else "")
    )

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
    }
}

# CorsMiddleware runs only inside PublicRoutes, so it sees public paths only.
CORS_ALLOWED_ORIGINS = ALLOWED_ORIGINS
CORS_ALLOW_CREDENTIALS = True  # sendBeacon always sends credentials; public routes read no cookie
CORS_EXPOSE_HEADERS = ["Retry-After"]
CORS_ALLOW_METHODS = ["GET", "HEAD", "POST", "OPTIONS"]
CORS_ALLOW_HEADERS = ["accept", "authorization", "content-type"]
CORS_PREFLIGHT_MAX_AGE = 86_400
# django-cors-headers looks these up seven times for each request. The defaults, and the old names of two settings, are
# here because Django does not cache a failed lookup.
CORS_ALLOW_ALL_ORIGINS = CORS_ORIGIN_ALLOW_ALL = False
CORS_ORIGIN_WHITELIST: list[str] = []
CORS_ALLOW_PRIVATE_NETWORK = False
CORS_URLS_REGEX = r"^.*$"

# --- the API and its page ----------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "events.api.answers.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Telemetry site",
    "DESCRIPTION": "Receives events from small browser tools (`POST /event`) and serves metrics and failures.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",  # Pydantic writes JSON Schema in the dialect of OpenAPI 3.1
    "TAGS": [{"name": name} for name in ("events", "reads", "groups", "source maps", "health")],
    "SERVE_INCLUDE_SCHEMA": False,
    "PREPROCESSING_HOOKS": ["events.api.schema.without_last_slash"],
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "events.api.schema.with_every_tag"],
    "APPEND_COMPONENTS": {
        "securitySchemes": {
            "adminToken": {"type": "http", "scheme": "bearer", "description": "ADMIN_TOKEN"},
            "metricsToken": {"type": "http", "scheme": "bearer", "description": "METRICS_TOKEN"},
            "scopedToken": {
                "type": "http",
                "scheme": "bearer",
                "description": "A token of the scope that the route needs, from the admin or from `manage.py"
                " issue_token NAME --scope SCOPE`. Without the scope the answer is 401, and its `error` names the"
                " scope. Over the rate limit of the token it is 429.",
            },
            "staffSession": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE_NAME},
            "ingestToken": {
                "type": "http",
                "scheme": "bearer",
                "description": "Required with INGEST_TOKEN_REQUIRED=1: a token of scope `ingest`. A beacon sends it as"
                " `?token=`.",
            },
        }
    },
    # Deep links would put a link inside each operation's button; screen readers cannot tell the two apart.
    "SWAGGER_UI_SETTINGS": {"deepLinking": False},
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# --- the rest ----------------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576  # for forms; the JSON routes have their own limits

LOG_FORMAT = env.choice("LOG_FORMAT", "line", among=("line", "json"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"ours": {"()": FORMATTERS[LOG_FORMAT]}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "ours"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        # Without Django's own handlers: with DEBUG they would write each line a second time, in another form.
        "django": {"handlers": [], "level": "INFO"},
        # At level DEBUG, Django logs each SQL statement with its parameters.
        "django.db.backends": {"level": "INFO"},
        # Django logs the path of every refused request. The site counts refusals instead.
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},
    },
}

env.refuse_faults()
