# The server alone, as a user without rights:
#
#   docker build -t weir .
#   docker run -d -p 6379:6379 -v weir-data:/data weir
#   docker run -d -p 6379:6379 -v weir-data:/data -v "$PWD/weir.conf:/etc/weir.conf:ro" weir /etc/weir.conf
#
# What follows the image's name takes the place of CMD: a configuration file, directives as --name value, or both.

FROM rust:1-slim-bookworm AS build
# The compiler image has a C compiler and linker; allocators and interpreters that are built from source also want make.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin weir \
 && strip --strip-debug target/release/weir

FROM debian:bookworm-slim
RUN groupadd --system --gid 999 weir \
 && useradd --system --uid 999 --gid weir --no-create-home --home-dir /data --shell /usr/sbin/nologin weir \
 && install --directory --owner=weir --group=weir --mode=0750 /data
COPY --from=build /src/target/release/weir /usr/local/bin/weir
USER weir
WORKDIR /data
VOLUME /data
EXPOSE 6379
ENTRYPOINT ["weir"]
# Protected mode would refuse every client, for inside a container none comes from loopback. As in the official Redis
# images it is off and all addresses are bound: the port is reachable only where it is published. Set requirepass before
# publishing it to a network that others share.
CMD ["--bind", "* -::*", "--protected-mode", "no"]
