FROM python:3.13-slim
RUN useradd --system --uid 10001 --create-home axn
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY worker ./worker
COPY tasks ./tasks
# All that only settings switch on; --build-arg EXTRAS= leaves it out.
ARG EXTRAS=credentials,ed25519,otel,privacy
RUN pip install --no-cache-dir -c constraints.txt ".${EXTRAS:+[$EXTRAS]}"
USER axn
ENV AXN_HEARTBEAT_FILE=/tmp/axn-heartbeat
ENTRYPOINT ["axn"]
CMD ["worker"]
