FROM python:3.13-slim
RUN useradd --system --uid 10001 --create-home axn
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY worker ./worker
COPY tasks ./tasks
RUN pip install --no-cache-dir -c constraints.txt .
USER axn
ENV AXN_HEARTBEAT_FILE=/tmp/axn-heartbeat
ENTRYPOINT ["axn"]
CMD ["worker"]
