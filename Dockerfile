# A two-stage build: build tools stay out of the final image. The image contains no PostgreSQL, so set database.url.
FROM python:3.13-slim AS build
WORKDIR /src
COPY constraints.txt ./
COPY pyproject.toml README.md LICENSE ./
COPY sql sql
COPY proxy proxy
COPY admin admin
COPY sitelatch sitelatch
COPY docs docs
RUN python -m venv /opt/sitelatch \
 && /opt/sitelatch/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.13-slim
COPY --from=build /opt/sitelatch /opt/sitelatch
ENV PATH=/opt/sitelatch/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8080 9090 9091
# SIGTERM starts a graceful drain. Set the container's stop timeout to more than the sum of drain.delay_seconds and
# drain.timeout_seconds.
STOPSIGNAL SIGTERM
ENTRYPOINT ["sitelatch"]
CMD ["serve", "--config", "/etc/sitelatch/sitelatch.toml"]
