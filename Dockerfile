# Both services, one image each: `docker build --target product-service .`
#
# The build stage needs nothing but Rust: no system library is linked. What it makes runs on a bare Debian of the same
# release, as an unprivileged user.
#
# Where it is tested there is no daemon to build it: .ci/check-compose.py holds it against the tree (packages, programs, files,
# pinned images, no root), .ci/lint-dockerfile lints it. That it builds is not shown by these.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# The caches outlive the stage, so the programs are copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package product-service --package order-service \
    && mkdir /programs \
    && cp target/release/product-service target/release/order-service /programs/

FROM debian:12.8-slim AS runtime
# Inside a container loopback is nobody's: publish the ports on the host's loopback instead. Beyond loopback the services
# start with keys only: HOTSTOCK__AUTH__MODE=on, HOTSTOCK__AUTH__KEYS or __KEYS_FILE.
ENV HOTSTOCK__LOG__FORMAT=json
USER 10001:10001
STOPSIGNAL SIGTERM

# Bash speaks TCP by itself, so the images need no curl for their health checks. It speaks no TLS: with HOTSTOCK__SERVER__TLS__CERT_FILE
# the check has to be another one, or on the admin listener with HOTSTOCK__SERVER__TLS__ADMIN=false.

FROM runtime AS product-service
COPY --from=build /programs/product-service /usr/local/bin/
ENV HOTSTOCK__SERVER__BIND=0.0.0.0:8081 HOTSTOCK__SERVER__ADMIN_BIND=0.0.0.0:9081
EXPOSE 8081 9081
HEALTHCHECK --interval=2s --timeout=2s --start-period=30s --retries=5 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8081 && printf 'GET /readyz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r status <&3 && [[ $status == *' 200 '* ]]"]
ENTRYPOINT ["product-service"]
CMD ["serve"]

FROM runtime AS order-service
COPY --from=build /programs/order-service /usr/local/bin/
ENV HOTSTOCK__SERVER__BIND=0.0.0.0:8080 HOTSTOCK__SERVER__ADMIN_BIND=0.0.0.0:9080
EXPOSE 8080 9080
HEALTHCHECK --interval=2s --timeout=2s --start-period=30s --retries=5 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /readyz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r status <&3 && [[ $status == *' 200 '* ]]"]
ENTRYPOINT ["order-service"]
CMD ["serve"]
