# syntax=docker/dockerfile:1
FROM python:3.12-slim-bookworm AS builder
WORKDIR /build
RUN python -m venv /opt/venv
COPY requirements.lock .
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/venv/bin/pip install --disable-pip-version-check --require-hashes -r requirements.lock

FROM python:3.12-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/data \
    STATIC_ROOT=/app/staticfiles
# A fixed uid, so that a volume's files keep their owner across images.
RUN groupadd --gid 10001 taskqueue \
    && useradd --uid 10001 --gid 10001 --home-dir /app --no-create-home taskqueue \
    && install -d -o taskqueue -g taskqueue /data
COPY --from=builder /opt/venv /opt/venv
WORKDIR /app
COPY manage.py gunicorn.conf.py ./
COPY static ./static
COPY templates ./templates
COPY jobs ./jobs
COPY workers ./workers
COPY taskqueue ./taskqueue
# The key that this makes stays behind in /tmp/build; the running container needs its own.
RUN DATA_DIR=/tmp/build python manage.py collectstatic --noinput
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:8000/readyz', timeout=4)"]
CMD ["gunicorn", "taskqueue.wsgi", "--bind", "0.0.0.0:8000", "--workers", "2", "--threads", "4", \
     "--worker-class", "gthread", "--worker-tmp-dir", "/dev/shm", "--graceful-timeout", "20", \
     "--no-control-socket"]
