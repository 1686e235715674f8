FROM python:3.11-slim AS wheel
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .
# The list of dependencies alone, so that a change of code does not install them again below.
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
    > /wheels/requirements.txt && cp constraints.txt /wheels/

FROM python:3.11-slim
# Hosts of the hosts file may be reached by ssh.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openssh-client \
    && rm -rf /var/lib/apt/lists/*
# The API may write only what this group owns on the shared volume.
RUN groupadd --gid 10001 opeva \
    && useradd --uid 10001 --gid opeva --no-create-home --home-dir / --shell /usr/sbin/nologin opeva
COPY --from=wheel /wheels/requirements.txt /wheels/constraints.txt /wheels/
RUN pip install --no-cache-dir --root-user-action=ignore -c /wheels/constraints.txt -r /wheels/requirements.txt
COPY --from=wheel /wheels/*.whl /wheels/
RUN pip install --no-cache-dir --root-user-action=ignore --no-deps /wheels/*.whl && rm -r /wheels

ENV OPEVA_API_HOST=0.0.0.0 OPEVA_API_UID=10001 OPEVA_SHARED_DATA=/data PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-Ic", "\
import http.client, os, sys; \
api = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('OPEVA_API_PORT') or 8000), timeout=4); \
api.request('GET', '/health'); \
sys.exit(api.getresponse().status != 200)"]

# Root, because the engine's socket is root already; the API inside it drops to the user opeva.
CMD ["opeva", "up"]
