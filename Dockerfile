# syntax=docker/dockerfile:1

# The image is made in two stages: whatever builds stays in the first, the second has the interpreter,
# the product and its pinned dependencies, runs as a user without rights, and writes to one directory.

FROM python:3.13-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /build

# What compiles the hot path stays in this stage; it needs what the product runs with too, whose types it checks.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

# pip fills the environment from outside, so that none is left in it. Dependencies come as wheels only.
COPY requirements/ requirements/
RUN python -m venv --without-pip /opt/sidecar \
    && python -m pip --python /opt/sidecar/bin/python install --require-hashes --only-binary :all: -r requirements/runtime.txt \
    && python -m pip install --require-hashes --only-binary :all: -r requirements/runtime.txt -r requirements/build.txt -r requirements/compile.txt

COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY sidecar/ sidecar/
RUN SIDECAR_COMPILE=1 python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && python -m pip --python /opt/sidecar/bin/python install --no-deps --no-index dist/*.whl


FROM python:3.13-slim-bookworm

LABEL org.opencontainers.image.title="hub-auth-sidecar" \
      org.opencontainers.image.description="API keys for an unmodified AIGNE Hub: checks bearer keys, forwards, meters, watches." \
      org.opencontainers.image.licenses="Apache-2.0"

RUN python -m pip uninstall --yes --root-user-action=ignore pip \
    && groupadd --gid 65532 sidecar \
    && useradd --uid 65532 --gid sidecar --no-create-home --home-dir /var/lib/sidecar --shell /usr/sbin/nologin sidecar \
    && install --directory --owner sidecar --group sidecar --mode 0700 /var/lib/sidecar

COPY --from=build /opt/sidecar /opt/sidecar

# Inside a container the listeners must be reachable from outside it: publish 8081 to trusted addresses only.
ENV PATH=/opt/sidecar/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SIDECAR_DATA_DIR=/var/lib/sidecar \
    SIDECAR_ADMIN__LISTEN=0.0.0.0:8081 \
    SIDECAR_METRICS__LISTEN=0.0.0.0:9464

USER 65532:65532
WORKDIR /var/lib/sidecar
VOLUME /var/lib/sidecar
EXPOSE 8080 8081 9464
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 9464, timeout=2); c.request('GET', '/livez'); exit(c.getresponse().status != 200)"]

ENTRYPOINT ["sidecar"]
CMD ["serve"]
