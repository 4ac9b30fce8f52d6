# Small image with an unprivileged user. Mount the configuration and its files at /etc/vtnr-gateway.
#   docker build -t vtnr-gateway .
#   docker run -p 8443:8443 -v /etc/vtnr-gateway:/etc/vtnr-gateway:ro vtnr-gateway

FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY benches benches
COPY pages pages
COPY config config
RUN cargo build --release --locked --no-default-features --bin vtnr-gateway

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --no-create-home --uid 10001 gateway
COPY --from=build /source/target/release/vtnr-gateway /usr/local/bin/vtnr-gateway
USER gateway
EXPOSE 8443
# Queries the admin listener; needs no further program.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["vtnr-gateway", "health", "--config", "/etc/vtnr-gateway/vtnr-gateway.toml"]
ENTRYPOINT ["vtnr-gateway"]
CMD ["serve", "--config", "/etc/vtnr-gateway/vtnr-gateway.toml"]
