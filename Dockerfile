# syntax=docker/dockerfile:1
# The program and glibc: no shell, no package manager, no root.
FROM --platform=$BUILDPLATFORM docker.io/library/rust:1.95-bookworm AS build
ARG TARGETARCH
WORKDIR /source
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Cross-compiled, since emulation takes an hour. aws-lc-rs needs a C compiler for the target; nothing else is foreign.
RUN case "$TARGETARCH" in \
      amd64) target=x86_64-unknown-linux-gnu; gcc=x86_64-linux-gnu-gcc; \
             packages=(gcc-x86-64-linux-gnu libc6-dev-amd64-cross) ;; \
      arm64) target=aarch64-unknown-linux-gnu; gcc=aarch64-linux-gnu-gcc; \
             packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross) ;; \
      *) echo "no build for $TARGETARCH" >&2; exit 1 ;; \
    esac \
 && apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}" \
 && echo "$target" > /target && echo "$gcc" > /gcc
COPY rust-toolchain.toml .
RUN rustup target add "$(cat /target)"
COPY . .
# The cache survives between builds on one machine; with `--locked` the result is the same without it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    target=$(cat /target) gcc=$(cat /gcc) \
 && export "CARGO_TARGET_$(echo "$target" | tr 'a-z-' 'A-Z_')_LINKER=$gcc" "CC_$(echo "$target" | tr - _)=$gcc" \
 && cargo build --locked --release --target "$target" \
 && install -D "target/$target/release/prefect-guard" /out/prefect-guard

# Not the base without glibc: managed certificates resolve the API server's name, which a static glibc cannot.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/prefect-guard /usr/local/bin/prefect-guard
USER 65532:65532
EXPOSE 10250 8080
ENTRYPOINT ["/usr/local/bin/prefect-guard"]
CMD ["--help"]
