# Two stages: what builds is not what runs. The image holds no PostgreSQL: give it a database.url.
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
# SIGTERM drains: give the container more time to stop than drain.delay_seconds and drain.timeout_seconds together.
STOPSIGNAL SIGTERM
ENTRYPOINT ["sitelatch"]
CMD ["serve", "--config", "/etc/sitelatch/sitelatch.toml"]
