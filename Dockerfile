# Images from one build: --target aggregator, loadgen, bench or log. Each is
# static binaries alone, and runs as a user that is not root.
#
# RUN is in exec form throughout, so that a build image needs Go and nothing
# else, not even a shell: compose/ tests this file on such a stand-in.
ARG GO_IMAGE=golang:1.26

FROM ${GO_IMAGE} AS build
LABEL sekali.stage=build
WORKDIR /src
ENV CGO_ENABLED=0
COPY go.mod go.sum ./
RUN ["go", "mod", "download"]
COPY . .
ARG VERSION=unknown
ENV GOFLAGS="-trimpath -ldflags=-X=main.version=${VERSION}"
RUN ["go", "build", "-o", "/out/", "./cmd/aggregator", "./cmd/loadgen", "./cmd/bench"]
# A scratch image has no mkdir and no chown: its folders are made here and owned below.
WORKDIR /volumes/data
WORKDIR /volumes/results

# The log of a cluster is a module of its own: who builds the others does not need its server.
FROM build AS build-log
WORKDIR /src/sekali-log
RUN ["go", "mod", "download"]
RUN ["go", "build", "-o", "/out/", "."]
WORKDIR /volumes/log

FROM scratch AS log
LABEL org.opencontainers.image.title="sekali log" \
      org.opencontainers.image.description="A server of the replicated log under a Sekali cluster" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build-log /out/sekali-log /sekali-log
COPY --from=build-log --chown=65532:65532 /volumes/log /log
USER 65532:65532
VOLUME /log
ENV SEKALI_DIR=/log \
    SEKALI_LISTEN=0.0.0.0:4222 \
    SEKALI_CLUSTER_LISTEN=0.0.0.0:6222
EXPOSE 4222 6222
ENTRYPOINT ["/sekali-log"]

FROM scratch AS bench
LABEL org.opencontainers.image.title="sekali bench" \
      org.opencontainers.image.description="Drives an aggregator through scenarios and audits what it stored" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /out/bench /bench
COPY --from=build --chown=65532:65532 /volumes/results /results
COPY scenarios /scenarios
USER 65532:65532
VOLUME /results
ENTRYPOINT ["/bench"]

FROM scratch AS loadgen
LABEL org.opencontainers.image.title="sekali loadgen" \
      org.opencontainers.image.description="Publishes events to an aggregator, at least once" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /out/loadgen /loadgen
USER 65532:65532
ENTRYPOINT ["/loadgen"]

# The last stage is what a plain `docker build .` makes.
FROM scratch AS aggregator
LABEL org.opencontainers.image.title="sekali aggregator" \
      org.opencontainers.image.description="Pub-sub log aggregator that stores every event exactly once" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /out/aggregator /aggregator
COPY --from=build --chown=65532:65532 /volumes/data /data
USER 65532:65532
VOLUME /data
ENV SEKALI_DATA=/data \
    SEKALI_LISTEN=0.0.0.0:8080
EXPOSE 8080
# After a restore a start makes the runs of keys again; the first success ends the start period.
HEALTHCHECK --interval=5s --timeout=2s --start-period=1h --retries=3 CMD ["/aggregator", "healthcheck"]
ENTRYPOINT ["/aggregator"]
