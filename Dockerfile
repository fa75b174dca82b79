# What README.md says, on Debian: git, make and Python, then the set-up. `docker build -t lmc_repro .`
FROM debian:bookworm

# ca-certificates: for downloads of data. All else that is missing, `make setup` installs.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates git make python3 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /lmc_repro
COPY . .
RUN make setup

# As `source .venv/bin/activate` does.
ENV PATH="/lmc_repro/.venv/bin:$PATH" MLFLOW_DISABLE_TELEMETRY=true DVC_NO_ANALYTICS=1
EXPOSE 5000
CMD ["bash"]
