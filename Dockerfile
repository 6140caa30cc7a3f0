# The image of the site: see docs/deployment.md.
#
# The base is Debian with `python3` from 3.11 to 3.13 and its venv.
ARG BASE_IMAGE=docker.io/library/python:3.13.9-slim-trixie

# --- the requirements ----------------------------------------------------------------------------------------------
FROM ${BASE_IMAGE} AS requirements
COPY requirements.txt /build/
# The optional secret `pip.conf` can name another package index. A secret does not become part of the image.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --disable-pip-version-check --no-cache-dir --no-compile \
        --require-hashes --only-binary=:all: --requirement /build/requirements.txt \
    && /opt/venv/bin/python -m pip uninstall --quiet --yes pip setuptools
# Translations, since USE_I18N is off; source maps of Swagger UI; Redoc, which no page uses; maps and the HTML pages of
# two libraries, which the site does not use. Symbol tables are for debuggers alone. Other compiled modules have none, or
# were changed by a tool whose result strip may damage.
RUN find /opt/venv -depth \( -name LC_MESSAGES -o -name '*.js.map' -o -name '*.css.map' -o -name redoc \
        -o -path '*/django/contrib/gis' -o -path '*/rest_framework/static' \
        -o -path '*/apprise/assets' \) -exec rm -rf {} + \
    && apt-get update \
    && apt-get install --yes --no-install-recommends binutils \
    && find /opt/venv \( -path '*/obstore/*.so' -o -path '*/cryptography/*.so' -o -path '*/yaml/*.so' \) \
        -exec strip --strip-unneeded {} +

# --- programs ------------------------------------------------------------------------------------------------------
# pg_dump and pg_restore back up PostgreSQL. Debian's package depends on Perl, but these two programs do not.
FROM ${BASE_IMAGE} AS programs
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-client tini \
    && mkdir /programs \
    && cp /usr/bin/tini /usr/lib/postgresql/*/bin/pg_dump /usr/lib/postgresql/*/bin/pg_restore /programs/

# --- the root file system ------------------------------------------------------------------------------------------
FROM ${BASE_IMAGE} AS root
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libpq5 tzdata
COPY --from=programs /programs/ /usr/local/bin/
# A fixed number, so that the owner of a mounted folder or secret can be set on the host.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin telemetry \
    && install --directory --mode=0700 --owner=telemetry --group=telemetry /data
COPY --from=requirements /opt/venv /opt/venv
COPY . /opt/telemetry/
WORKDIR /opt/telemetry
# The commands prove that the image works. Python caches the bytecode of all modules that they import; later the root
# file system is read-only. The user must be able to read the files, whatever umask the checkout and the site have.
RUN pg_dump --version && pg_restore --version \
    && export DATA_DIR=/tmp/data EPHEMERAL_DATA=1 PATH="/opt/venv/bin:$PATH" \
    && python manage.py migrate --verbosity 0 \
    && DJANGO_SETTINGS_MODULE=telemetry_site.settings python -c "import telemetry_site.server.rsgi" \
    && python -c "import deploy.healthcheck, django.db.backends.postgresql.base, psycopg_pool, redis, granian.cli" \
    && python -m compileall -q events legacy telemetry_site \
    && chmod -R u=rwX,go=rX /opt
# Remove what only builds, upgrades and sign-ins to a machine need: package managers and dpkg's lists of files, Perl, tools
# for disks and accounts, parts of Python, character sets other than UTF-8, setuid bits. The scripts of packages need
# Perl, so Perl goes last. dpkg only warns about a package that the base does not have.
RUN find /usr/lib /usr/local/lib -depth -path '*/python3*' -not -path '*/site-packages/*/*' \( -name distutils \
        -o -name ensurepip -o -name idlelib -o -name lib2to3 -o -name pip -o -name 'pip-*' -o -name pydoc_data \
        -o -name test -o -name tkinter \) -exec rm -rf {} + \
    && rm -rf /usr/lib/*-linux-gnu*/gconv /usr/share/doc/* /usr/share/info/* /usr/share/locale/* /usr/share/man/* \
    && dpkg --purge --force-depends --force-remove-essential --force-remove-protected \
        bsdutils e2fsprogs libdb5.3 libdb5.3t64 libext2fs2 libext2fs2t64 libpam-modules libpam-modules-bin \
        libpam-runtime libsasl2-modules-db libsemanage2 libsepol2 libss2 login logsave mount passwd \
        util-linux util-linux-extra \
    && dpkg --purge --force-depends --force-remove-essential --force-remove-protected \
        apt gpgv libapt-pkg6.0 libapt-pkg7.0 libstdc++6 perl-base python3-pip-whl python3-setuptools-whl sqv \
    && find / -xdev -perm /6000 -type f -exec chmod a-s {} + \
    && rm -rf /usr/bin/openssl /usr/share/perl5 /usr/share/zoneinfo/right /tmp/* /var/lib/dpkg/info /var/cache/* \
        /var/lib/apt /var/log/*

# --- the site ------------------------------------------------------------------------------------------------------
# A copy in one layer, because files that a later layer deletes still take space.
FROM scratch AS site
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Telemetry site" \
    org.opencontainers.image.description="Stores telemetry events of browser tools, and shows failures to maintainers" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=root / /
WORKDIR /opt/telemetry
USER telemetry
# TMPDIR: large exports are completed in a temporary file, and a container has no other writable folder.
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8000 \
    DATA_DIR=/data \
    TMPDIR=/data
EXPOSE 8000
# Liveness, not readiness: a restart repairs a process that hangs, but neither a full disk nor a database that is down.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "deploy.healthcheck"]
# No VOLUME: an anonymous volume would hide that nobody has mounted one, and `docker run --rm` deletes it.
# The kernel drops a signal to process 1 that has no handler yet. Without tini, a stop during a migration would be
# ignored, and then be a kill.
ENTRYPOINT ["tini", "--", "python", "manage.py"]
CMD ["serve"]
