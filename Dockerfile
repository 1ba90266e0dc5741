# One image a program: docker build --target ev-central .
# Each holds the program, linked statically, and certificate authorities: no shell, not root.

FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /out/ ./cmd/...
RUN mkdir -m 700 /state

# What a program writes, it writes in /var/lib/evcharging.
FROM scratch AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build --chown=65532:65532 /state /var/lib/evcharging
USER 65532:65532
WORKDIR /var/lib/evcharging

FROM base AS ev-central
COPY --from=build /out/ev-central /bin/
ENTRYPOINT ["/bin/ev-central"]

FROM base AS ev-cp-e
COPY --from=build /out/ev-cp-e /bin/
ENTRYPOINT ["/bin/ev-cp-e"]

FROM base AS ev-cp-m
COPY --from=build /out/ev-cp-m /bin/
ENTRYPOINT ["/bin/ev-cp-m"]

FROM base AS ev-driver
COPY --from=build /out/ev-driver /bin/
ENTRYPOINT ["/bin/ev-driver"]

FROM base AS ev-replay
COPY --from=build /out/ev-replay /bin/
ENTRYPOINT ["/bin/ev-replay"]

FROM base AS evcharging
COPY --from=build /out/evcharging /bin/
ENTRYPOINT ["/bin/evcharging"]
