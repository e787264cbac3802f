# syntax=docker/dockerfile:1

# --build-arg TERRAFORM_VERSION=1.12.2 bakes another version in, from HashiCorp's own image. `--target bare` leaves
# it out: terraform is then installed when a project asks for a version (--tf-download).
ARG TERRAFORM_VERSION=1.11.4

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/tidegate ./cmd/tidegate

FROM hashicorp/terraform:${TERRAFORM_VERSION} AS terraform

FROM debian:bookworm-slim AS base
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git openssh-client \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home --home-dir /home/tidegate --shell /usr/sbin/nologin tidegate \
 && install -d -o tidegate -g tidegate -m 0700 /var/lib/tidegate
COPY --from=build /out/tidegate /usr/local/bin/tidegate
ENV TIDEGATE_DATA_DIR=/var/lib/tidegate
# By number: Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /home/tidegate
VOLUME /var/lib/tidegate
EXPOSE 4141
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
  CMD ["tidegate", "healthcheck"]
ENTRYPOINT ["tidegate", "init", "--", "tidegate"]
CMD ["server"]

FROM base AS bare

FROM base
COPY --from=terraform /bin/terraform /usr/local/bin/terraform
